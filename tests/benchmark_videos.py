"""Tiny videos, arranged and named as the benchmarks are, with the annotations of their authors."""

import csv
import hashlib
import json
from pathlib import Path

import av
import numpy as np

SIDE, FPS = 32, 8


def write_video(path: Path, seed: str = "", num_frames: int = 10, codec: str = "mpeg4") -> Path:
    """Moving stripes and colours that follow from the seed: no two videos are alike."""
    generator = np.random.default_rng(int(hashlib.sha256(f"{seed or path.name}".encode()).hexdigest()[:8], 16))
    colours, speed = generator.integers(0, 256, (4, 3)), int(generator.integers(1, 6))
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libvpx" if path.suffix == ".webm" else codec, rate=FPS)
        stream.width, stream.height, stream.pix_fmt = SIDE + 16, SIDE, "yuv420p"
        for number in range(num_frames):
            place = (np.arange(SIDE + 16) + speed * number) // 8 % 4
            picture = np.broadcast_to(colours[place].astype(np.uint8), (SIDE, SIDE + 16, 3))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture))))
        container.mux(stream.encode(None))
    return path


HMDB51 = ("brush_hair", "cartwheel", "catch", "shake_hands")


def write_hmdb51(folder: Path, per_class: int = 3) -> tuple[Path, Path]:
    """Videos in class folders, and the folder of `brush_hair_test_split1.txt`: video i is a test video of split i."""
    lists = folder / "splits"
    lists.mkdir(parents=True)
    for name in HMDB51:
        files = [f"clip_{name}_{number}.avi" for number in range(per_class)]
        for file in files:
            write_video(folder / "videos" / name / file)
        for split in (1, 2, 3):
            lines = [f"{file} {1 if number % 3 == split - 1 else 2} \n" for number, file in enumerate(files)]
            (lists / f"{name}_test_split{split}.txt").write_text("".join(lines))
    return folder / "videos", lists


UCF101 = ("ApplyEyeMakeup", "BasketballDunk", "TaiChi", "YoYo", "Archery")


def write_ucf101(folder: Path, per_class: int = 3) -> tuple[Path, Path]:
    """`v_ApplyEyeMakeup_g01_c01.avi` in class folders, testlist01.txt to testlist03.txt, classInd.txt."""
    lists = folder / "ucfTrainTestlist"
    lists.mkdir(parents=True)
    (lists / "classInd.txt").write_text("".join(f"{number} {name}\n" for number, name in enumerate(UCF101, 1)))
    names = [f"{name}/v_{name}_g{group:02d}_c01.avi" for name in UCF101 for group in range(1, per_class + 1)]
    for name in names:
        write_video(folder / "UCF-101" / name)
    for split in (1, 2, 3):
        chosen = [name for number, name in enumerate(names) if number % per_class != split - 1]
        (lists / f"testlist0{split}.txt").write_text("".join(f"{name}\n" for name in chosen))
    return folder / "UCF-101", lists


KINETICS = ("abseiling", "air drumming", "answering questions")


def write_kinetics(folder: Path, per_class: int = 2, names: tuple[str, ...] = KINETICS) -> tuple[Path, Path]:
    """`val/ID_000010_000020.mp4`, and a CSV of the authors' columns for the splits validate and train."""
    with (folder / "kinetics.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["label", "youtube_id", "time_start", "time_end", "split"])
        for name in names:
            for number in range(per_class):
                video = f"{name[:3].replace(' ', '_')}{number}xxxxxxx"[:11]
                rows.writerow([name, video, 10, 20, "validate"])
                write_video(folder / "videos" / "val" / f"{video}_000010_000020.mp4")
            rows.writerow([name, "trainingxxx", 0, 10, "train"])
    return folder / "videos", folder / "kinetics.csv"


SSV2 = ("Pushing [something] from left to right", "Pushing [something] from right to left", "Tearing [something]")


def write_ssv2(folder: Path, per_class: int = 2) -> tuple[Path, Path]:
    """`12.webm`, something-something-v2-validation.json and -labels.json."""
    entries = []
    for label, template in enumerate(SSV2):
        for number in range(per_class):
            name = str(10 * label + number + 1)
            write_video(folder / "videos" / f"{name}.webm")
            entries.append({"id": name, "label": "pushing a cup", "template": template, "placeholders": ["a cup"]})
    folder.joinpath("something-something-v2-validation.json").write_text(json.dumps(entries))
    names = {template.replace("[", "").replace("]", ""): str(label) for label, template in enumerate(SSV2)}
    folder.joinpath("something-something-v2-labels.json").write_text(json.dumps(names))
    return folder / "videos", folder


CAPTIONS = ("a dog runs", "two people talk", "a dog runs", "someone cooks")


def write_msrvtt(folder: Path) -> tuple[Path, Path]:
    """`video7020.mp4` and the 1k-A list, in which captions repeat."""
    with (folder / "MSRVTT_JSFUSION_test.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["key", "vid_key", "video_id", "sentence"])
        for number, caption in enumerate(CAPTIONS):
            write_video(folder / "videos" / f"video{7020 + number}.mp4")
            rows.writerow([f"ret{number}", f"msr{number}", f"video{7020 + number}", caption])
    return folder / "videos", folder / "MSRVTT_JSFUSION_test.csv"


def write_localisation(
    folder: Path, names: tuple[str, ...], subset: str, file: str, prefix: str
) -> tuple[Path, Path, Path]:
    """Videos of 40 frames (5 s), ground truth in ActivityNet's JSON, and proposals near it."""
    generator = np.random.default_rng(0)
    database, results = {}, {}
    for number in range(4):
        video = f"{prefix}{number:07d}"
        write_video(folder / "videos" / f"{video}.mp4", num_frames=40)
        truth = [
            {"segment": [0.5, 2.0], "label": names[number % len(names)]},
            {"segment": [3.0, 4.5], "label": names[(number + 1) % len(names)]},
        ]
        database[video.removeprefix("v_")] = {"subset": subset, "duration": 5.0, "annotations": truth}
        near = [[*(np.array(one["segment"]) + generator.uniform(-0.3, 0.3, 2)).round(2).tolist()] for one in truth]
        near.append([1.0, 4.0])
        results[video.removeprefix("v_")] = [
            {"segment": segment, "score": round(0.9 - 0.2 * rank, 2)} for rank, segment in enumerate(near)
        ]
    database["other"] = {"subset": "training", "duration": 5.0, "annotations": []}
    (folder / file).write_text(json.dumps({"version": "x", "database": database}))
    (folder / "proposals.json").write_text(json.dumps({"version": "x", "results": results}))
    return folder / "videos", folder / file, folder / "proposals.json"


def write_thumos14(folder: Path) -> tuple[Path, Path, Path]:
    """`video_test_0000004.mp4`, in which things happen."""
    return write_localisation(folder, ("BaseballPitch", "Diving"), "test", "thumos14.json", "video_test_")


def write_activitynet(folder: Path) -> tuple[Path, Path, Path]:
    """`v_ID.mp4`, and the JSON in which the names have no `v_`."""
    names = ("Archery", "Baton twirling", "Beach soccer")
    return write_localisation(folder, names, "validation", "activity_net.v1-3.min.json", "v_")
