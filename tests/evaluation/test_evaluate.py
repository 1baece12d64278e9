"""Every protocol end to end, on tiny videos named as the benchmark's are, against an evaluation in plain steps."""

import json
from pathlib import Path
from statistics import fmean, pstdev

import benchmark_videos as benchmarks
import pytest
import torch
from plain_evaluation import clips_of, probabilities_of, texts_of, top_1, top_5
from safetensors import safe_open
from toy_checkpoint import toy_adapter_on, toy_processor
from toy_vita_clip import save_toy_clip
from transformers import CLIPModel

from vita_clip_hf import EfficientPromptModel, VitaClipModel
from vita_clip_hf.data import load_videos
from vita_clip_hf.data.splits import draw_classes, draw_episode
from vita_clip_hf.evaluation import Resources, TestData, evaluate, load_protocol, protocol_names
from vita_clip_hf.evaluation.caption_scores import score_captions
from vita_clip_hf.evaluation.features import identity_of
from vita_clip_hf.evaluation.metrics import temporal_map
from vita_clip_hf.evaluation.run import load_contender, plan_runs

PROCESSOR = toy_processor()
SSV2 = [name.replace("[", "").replace("]", "") for name in benchmarks.SSV2]
OWN = [*benchmarks.KINETICS, *SSV2]  # the classes that the adapter has learned


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """Models and data sets."""
    folder = tmp_path_factory.mktemp("home")
    save_toy_clip(folder / "clip", max_position_embeddings=77)
    toy_adapter_on(folder / "clip", OWN).save_pretrained(folder / "adapter")
    for seed in (1, 2, 3):
        toy_adapter_on(folder / "clip", OWN, seed=seed).save_pretrained(folder / f"seed{seed}")
    for model in ("clip", "adapter", "seed1", "seed2", "seed3"):
        PROCESSOR.save_pretrained(folder / model)
    for name in ("hmdb51", "ucf101", "kinetics", "ssv2", "msrvtt", "thumos14", "activitynet"):
        (folder / name).mkdir()
        getattr(benchmarks, f"write_{name}")(folder / name)
    write_class_files(folder / "classes")
    return folder


def write_class_files(folder: Path) -> None:
    folder.mkdir()
    kinetics = benchmarks.KINETICS
    files = {
        **{f"ZS_split{n}_K600.csv": [kinetics[n - 1], kinetics[n % 3]] for n in (1, 2, 3)},
        "hmdb_51_base_labels.csv": ["brush hair", "shake hands"],
        "hmdb_51_novel_labels.csv": ["cartwheel", "catch"],
        "ucf_101_base_labels.csv": ["YoYo", "TaiChi"],
        "ucf_101_novel_labels.csv": ["ApplyEyeMakeup", "BasketballDunk", "Archery"],
        "ssv2_174_base_labels.csv": SSV2[:2],
        "ssv2_174_novel_labels.csv": SSV2[2:],
        "kinetics_400_base_labels.csv": [kinetics[2], kinetics[0]],
        "kinetics_400_novel_labels.csv": [kinetics[1]],
        "kinetics_400_labels.csv": list(kinetics),
        "ssv2_labels.csv": SSV2,
        "hmdb_51_labels.csv": [name.replace("_", " ") for name in benchmarks.HMDB51],
        "ucf_101_labels.csv": list(benchmarks.UCF101),
    }
    for name, rows in files.items():
        lines = "".join(f'{number},"{row}"\n' for number, row in enumerate(rows))
        (folder / name).write_text(f"id,name\n{lines}")
    (folder / "test.list").write_text("abseiling\nair drumming\n")


VIDEOS = {"hmdb51": "videos", "ucf101": "UCF-101", "kinetics": "videos", "ssv2": "videos", "msrvtt": "videos"}
LISTS = {"hmdb51": "splits", "ucf101": "ucfTrainTestlist", "kinetics": "kinetics.csv", "ssv2": "."}


def run(home: Path, model: str, protocol: str, name: str, **data):
    facts = TestData(home / name / VIDEOS[name], home / name / LISTS[name], **data)
    return evaluate(home / model, protocol, facts, Resources(cache=home / "cache", batch_size=5, device="cpu"))


def rows_of(home: Path, name: str, split: str | None = None, format: str = "auto"):
    """Videos and class names of a list, as training reads them."""
    source = home / name / LISTS[name]
    source = source / "something-something-v2-validation.json" if name == "ssv2" else source
    rows = load_videos(source, split=split, root=home / name / VIDEOS[name])
    names = rows.features["label"].names
    return list(zip(rows["video"], [names[label] for label in rows["label"]], strict=True)), names


def plain_model(home: Path, model: str):
    kind = CLIPModel if model == "clip" else VitaClipModel
    return kind.from_pretrained(home / model).eval()


def plain_scores(home: Path, model: str, rows, names, protocol: str, own: bool = False) -> list[torch.Tensor]:
    loaded, facts = plain_model(home, model), load_protocol(protocol).to_dict()
    if own:
        with torch.no_grad():
            texts = loaded.get_class_features().pooler_output[[OWN.index(name) for name in names]]
    else:
        texts = texts_of(names, loaded, PROCESSOR.tokenizer, facts["templates"])
    return [probabilities_of(clips_of(video, PROCESSOR, facts), loaded, texts) for video, _ in rows]


def ids(rows, names) -> list[int]:
    return [names.index(label) for _, label in rows]


@pytest.mark.parametrize("protocol", ["supervised-k400-4x3", "supervised-k400-3x1", "supervised-ssv2-1x3"])
@pytest.mark.parametrize("model", ["adapter", "clip"])
def test_supervised(home, protocol, model):
    name = "ssv2" if "ssv2" in protocol else "kinetics"
    report = run(home, model, protocol, name)
    rows, names = rows_of(home, name, "validate" if name == "kinetics" else None)
    scores = plain_scores(home, model, rows, names, protocol, own=model == "adapter")
    expected = {"top_1": top_1(scores, ids(rows, names)), "top_5": 1.0}
    assert {figure: report.figures[figure] for figure in expected} == expected
    assert report.parts[0].class_texts == ("own" if model == "adapter" else "templates")
    assert report.is_partial  # it is not the whole of Kinetics
    assert len(report.predictions) == len(rows)


@pytest.mark.parametrize("model", ["adapter", "clip"])
@pytest.mark.parametrize("frames", ["", "-32f"])
@pytest.mark.parametrize("name", ["hmdb51", "ucf101"])
def test_zero_shot_is_the_mean_over_three_splits(home, name, model, frames):
    protocol = f"zero-shot-{name}{frames}"
    report = run(home, model, protocol, name)
    found = []
    for split in ("test1", "test2", "test3"):
        rows, names = rows_of(home, name, split)
        found.append(top_1(plain_scores(home, model, rows, names, protocol), ids(rows, names)))
    assert [part.figures["top_1"] for part in report.parts] == found
    assert report.figures["top_1_mean"] == pytest.approx(fmean(found))
    assert report.figures["top_1_deviation"] == pytest.approx(pstdev(found))


@pytest.mark.parametrize("name", ["hmdb51", "ucf101"])
def test_half_of_the_classes_are_told_apart_among_themselves(home, name):
    protocol = f"zero-shot-{name}-half"
    report = run(home, "adapter", protocol, name)
    rows, names = rows_of(home, name, "test1")
    assert len(report.parts) == 10
    for draw in range(10):
        chosen = [names[label] for label in draw_classes(names, len(names) // 2, draw)]
        of_classes = [row for row in rows if row[1] in chosen]
        scores = plain_scores(home, "adapter", of_classes, chosen, protocol)
        part = report.parts[draw]
        assert (part.draw, part.num_videos, part.num_classes) == (draw, len(of_classes), len(names) // 2)
        assert part.figures["top_1"] == top_1(scores, ids(of_classes, chosen))


@pytest.mark.parametrize("protocol", ["zero-shot-k600", "zero-shot-k600-32f"])
def test_zero_shot_on_some_classes_of_kinetics(home, protocol):
    report = run(home, "clip", protocol, "kinetics", classes=home / "classes")
    rows, _ = rows_of(home, "kinetics", "validate")
    for number, part in enumerate(report.parts, start=1):
        names = [benchmarks.KINETICS[number - 1], benchmarks.KINETICS[number % 3]]
        chosen = [row for row in rows if row[1] in names]
        assert part.figures["top_1"] == top_1(plain_scores(home, "clip", chosen, names, protocol), ids(chosen, names))
    assert [report.data["counts"][f"split{n}"]["of_other_classes"] for n in (1, 2, 3)] == [2, 2, 2]


def test_open_set(home):
    report = run(home, "adapter", "open-set-k700", "kinetics", classes=home / "classes")
    rows, _ = rows_of(home, "kinetics", "validate")
    names = ["abseiling", "air drumming"]
    chosen = [row for row in rows if row[1] in names]
    scores = plain_scores(home, "adapter", chosen, names, "open-set-k700")
    assert report.figures["top_1"] == top_1(scores, ids(chosen, names))
    assert report.figures["top_5"] == top_5(scores, ids(chosen, names)) == 1.0


@pytest.mark.parametrize("name", ["hmdb51", "ucf101", "ssv2"])
def test_few_shot_has_a_figure_for_each_number_of_shots(home, name):
    for shots, seed in ((2, 1), (4, 2), (8, 3), (16, 1)):
        place = home / f"k{shots}"
        if not place.exists():
            place.symlink_to(home / f"seed{seed}")
    report = run(home, "k{shots}", f"few-shot-{name}", name)
    rows, names = rows_of(home, name, None if name == "ssv2" else "test1")
    assert {figure for figure in report.figures if "top_1" in figure} == {f"top_1_k{k}" for k in (2, 4, 8, 16)}
    for shots, model in ((2, "seed1"), (4, "seed2"), (8, "seed3"), (16, "seed1")):
        scores = plain_scores(home, model, rows, names, f"few-shot-{name}", own=name == "ssv2")
        assert report.figures[f"top_1_k{shots}"] == top_1(scores, ids(rows, names))


@pytest.mark.parametrize("name", ["hmdb51", "ucf101", "ssv2", "kinetics"])
def test_base_to_novel_has_the_harmonic_mean_of_the_means_over_seeds(home, name):
    protocol = f"base-to-novel-{name.replace('kinetics', 'k400')}"
    report = run(home, "seed{seed}", protocol, name, classes=home / "classes")
    official = {"ssv2": None, "kinetics": "validate"}.get(name, "test1")
    rows, _ = rows_of(home, name, official)
    means = {}
    for half, file in (("base", "base"), ("novel", "novel")):
        path = next(
            (home / "classes").glob(
                f"{ {'ssv2': 'ssv2_174', 'kinetics': 'kinetics_400'}.get(name, name[:3]) }*_{file}_*"
            )
        )
        lines = path.read_text().splitlines()[1:]
        names = [benchmarks_words(line.partition(",")[2].strip('"')) for line in lines]
        chosen = [row for row in rows if row[1] in names]
        own = name in ("ssv2", "kinetics")
        found = [
            top_1(plain_scores(home, f"seed{seed}", chosen, names, protocol, own=own), ids(chosen, names))
            for seed in (1, 2, 3)
        ]
        means[half] = fmean(found)
        assert report.figures[f"{half}_top_1_mean"] == pytest.approx(means[half])
        assert report.figures[f"{half}_top_1_deviation"] == pytest.approx(pstdev(found))
    base, novel = means["base"], means["novel"]
    expected = 2 * base * novel / (base + novel) if base and novel else 0
    assert report.figures["harmonic_mean"] == pytest.approx(expected)


def benchmarks_words(name: str) -> str:
    """`YoYo` as "yo yo"."""
    if " " in name or name.islower():
        return name
    return "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in name).strip()


def test_episodes_test_on_the_videos_that_are_not_trained_on(home):
    protocol = load_protocol("five-way-five-shot").with_changes({"num_draws": 4, "num_ways": 3, "shots": [2]})
    rows = load_videos(home / "ucf101" / "UCF-101")
    data = TestData(home / "ucf101" / "UCF-101")
    report = evaluate(home / "clip", protocol, data, Resources(cache=home / "cache", device="cpu"))
    assert "One model served all draws." in report.notes
    for draw, part in enumerate(report.parts):
        train, test = draw_episode(rows, 3, 2, draw)
        assert not set(train["video"]) & set(test["video"])
        names = test.features["label"].names
        pairs = list(zip(test["video"], [names[label] for label in test["label"]], strict=True))
        scores = plain_scores(home, "clip", pairs, names, "five-way-five-shot")
        assert (part.num_videos, part.num_classes) == (3, 3)
        assert part.figures["top_1"] == top_1(scores, ids(pairs, names))
    assert report.figures["top_1_mean"] == fmean(part.figures["top_1"] for part in report.parts)


def test_a_model_of_each_draw_is_scored_by_its_own_classes_on_its_own_videos(home, tmp_path):
    protocol = load_protocol("five-way-five-shot").with_changes({"num_draws": 2, "num_ways": 3, "shots": [2]})
    rows = load_videos(home / "ucf101" / "UCF-101")
    draws = [draw_episode(rows, 3, 2, draw)[1] for draw in range(2)]
    for draw, test in enumerate(draws):
        names = test.features["label"].names[::-1]  # a model may have them in another order
        toy_adapter_on(home / "clip", names, seed=draw).save_pretrained(tmp_path / f"draw{draw}")
        PROCESSOR.save_pretrained(tmp_path / f"draw{draw}")
    data, cache = TestData(home / "ucf101" / "UCF-101"), tmp_path / "cache"
    report = evaluate(tmp_path / "draw{draw}", protocol, data, Resources(cache=cache, device="cpu"))
    assert [(part.class_texts, part.num_classes, part.num_videos) for part in report.parts] == [("own", 3, 3)] * 2
    encoded = []
    for path in cache.rglob("*.safetensors"):
        with safe_open(path, "pt") as file:
            encoded += json.loads(file.metadata()["videos"])
    assert len(encoded) == 6
    for draw, (test, part) in enumerate(zip(draws, report.parts, strict=True)):
        names, loaded = test.features["label"].names, VitaClipModel.from_pretrained(tmp_path / f"draw{draw}").eval()
        with torch.no_grad():
            texts = loaded.get_class_features().pooler_output.flip(0)
        facts = protocol.to_dict()
        scores = [probabilities_of(clips_of(video, PROCESSOR, facts), loaded, texts) for video in test["video"]]
        assert part.figures["top_1"] == top_1(scores, test["label"])
        of_part = [row for row in report.predictions if row["part"] == part.name]
        assert [row["predicted"] for row in of_part] == [names[int(row.argmax())] for row in scores]
    only = protocol.with_changes({"num_draws": 1})  # one draw has one model, which serves no other
    notes = evaluate(tmp_path / "draw{draw}", only, data, Resources(cache=cache, device="cpu")).notes
    assert not [note for note in notes if "One model served" in note]


def test_captions_that_repeat_are_equal_to_the_last_bit_and_long_ones_are_cut(home, tmp_path):
    """Else a repeated caption wins or loses by the rounding of its place in the batch."""
    videos = home / "msrvtt" / "videos"
    long = "a dog runs and then two people talk about it for a very long time indeed"
    texts = ["a dog runs", *(f"{long} {number}" for number in range(511)), "a dog runs"]
    lines = "".join(f"video{7020 + number % 4},{text}\n" for number, text in enumerate(texts))
    (tmp_path / "captions.csv").write_text(f"video,caption\n{lines}")
    data, resources = TestData(videos, tmp_path / "captions.csv"), Resources(cache=home / "cache", device="cpu")
    short = load_protocol("retrieval").with_changes({"num_frames": 4})
    report = evaluate(home / "clip", short, data, resources)
    assert not [note for note in report.notes if "longer" in note]
    contender = load_contender(str(home / "clip"), short, resources)
    rows = [identity_of({"video": str(videos / f"video{7020 + number}.mp4")}) for number in range(4)]
    scores = score_captions(contender.model, contender.store, rows, texts, short)
    assert torch.equal(scores[0], scores[-1])

    assert report.parts[0].interval is not None
    of_ranks = evaluate(home / "clip", short.with_changes({"metrics": ["median_rank"]}), data, resources)
    assert of_ranks.parts[0].interval is None  # it would be of another figure

    (tmp_path / "captions.csv").write_text(f"video,caption\n{lines}video7020,{long * 4}\n")
    report = evaluate(home / "clip", short, data, resources)
    assert "1 of 514 captions are longer than 77 tokens and were cut." in report.notes


def test_retrieval_and_localisation_without_a_readable_video_are_errors(home, tmp_path):
    (tmp_path / "videos").mkdir()
    for name in ("video7020.mp4", "video_test_0000000.mp4"):
        (tmp_path / "videos" / name).write_bytes(b"no video")
    (tmp_path / "captions.csv").write_text("video,caption\nvideo7020,a dog runs\n")
    resources = Resources(cache=tmp_path / "cache", device="cpu")
    with pytest.raises(OSError, match=r"None of the 1 videos of test could be read; the first, .*video7020"):
        evaluate(home / "clip", "retrieval", TestData(tmp_path / "videos", tmp_path / "captions.csv"), resources)
    thumos = home / "thumos14"
    data = TestData(tmp_path / "videos", thumos / "thumos14.json", proposals=thumos / "proposals.json")
    with pytest.raises(OSError, match="None of the 3 videos of test could be read"):
        evaluate(home / "clip", "localisation-thumos14", data, resources)


@pytest.mark.parametrize("form", ["msrvtt-1ka", "msrvtt-full", "lsmdc", "didemo", "smit"])
@pytest.mark.parametrize("model", ["clip", "adapter"])
def test_retrieval_counts_ranks_both_ways(home, tmp_path, form, model):
    videos = home / "msrvtt" / "videos"
    pairs = [(f"video{7020 + number}", caption) for number, caption in enumerate(benchmarks.CAPTIONS)]
    if form == "msrvtt-full":
        pairs += [("video7020", "an animal is outside"), ("video7021", "a talk show")]
    names_of_files = {"msrvtt-1ka": "MSRVTT_JSFUSION_test.csv", "lsmdc": "lsmdc_test.csv", "smit": "smit_test.csv"}
    path = tmp_path / names_of_files.get(form, "test_data.json")
    if form == "msrvtt-1ka":
        path = home / "msrvtt" / path.name
    elif form == "lsmdc":
        path.write_text("".join(f"{video}\t0\t1\t0\t1\t{caption}\n" for video, caption in pairs))
    elif form == "smit":
        path.write_text("video,caption\n" + "".join(f"{video},{caption}\n" for video, caption in pairs))
    elif form == "didemo":
        halves = [
            {"video": f"{video}.mp4", "description": part} for video, text in pairs for part in text.split(" ", 1)
        ]
        path.write_text(json.dumps(halves))
    else:
        entries = [{"video_id": video, "split": "test"} for video in dict.fromkeys(video for video, _ in pairs)]
        entries.append({"video_id": "video1", "split": "train"})
        sentences = [{"video_id": video, "caption": caption} for video, caption in pairs]
        path.write_text(
            json.dumps({"videos": entries, "sentences": [*sentences, {"video_id": "video1", "caption": "x"}]})
        )
    protocol = f"retrieval-{form}"
    report = evaluate(home / model, protocol, TestData(videos, path), Resources(cache=home / "cache", device="cpu"))

    loaded, facts = plain_model(home, model), load_protocol(protocol).to_dict()
    names = list(dict.fromkeys(video for video, _ in pairs))
    embeds = []
    with torch.no_grad():
        for name in names:
            clips = clips_of(videos / f"{name}.mp4", PROCESSOR, facts)
            frames = (
                loaded.get_video_features(clips).frame_embeds[0]
                if model == "adapter"
                else loaded.get_image_features(clips[0]).pooler_output
            )
            embeds.append(torch.nn.functional.normalize(frames.mean(0), dim=0))
    texts = texts_of([caption for _, caption in pairs], loaded, PROCESSOR.tokenizer, ["{}"])
    table = torch.stack(embeds) @ texts.T
    owners = [names.index(video) for video, _ in pairs]
    to_video, to_text = [], []
    for text, owner in enumerate(owners):
        to_video.append(
            1 + sum(table[row, text] >= table[owner, text] for row in range(len(names)) if row != owner).item()
        )
    for row in range(len(names)):
        best = max(table[row, text] for text, owner in enumerate(owners) if owner == row)
        to_text.append(
            1 + sum(float(table[row, text] >= best - 1e-6) for text, owner in enumerate(owners) if owner != row)
        )
    for direction, ranks in (("text_to_video", to_video), ("video_to_text", to_text)):
        for k in (1, 5, 10):
            assert report.figures[f"{direction}_recall_at_{k}"] == sum(rank <= k for rank in ranks) / len(ranks)
        assert report.figures[f"{direction}_median_rank"] == torch.tensor(ranks).double().quantile(0.5)
        assert report.figures[f"{direction}_mean_rank"] == pytest.approx(fmean(ranks))


def plain_detections(home, model, name, facts, truth, proposals, labels, words):
    loaded = plain_model(home, model)
    texts = texts_of(words, loaded, PROCESSOR.tokenizer, facts["templates"])
    found = {}
    for video in truth:
        path = next((home / name / "videos").glob(f"*{video}.mp4"))
        found[video] = []
        for entry in proposals[video]:
            span = tuple(entry["segment"])
            shares = probabilities_of(clips_of(path, PROCESSOR, facts, span), loaded, texts)
            found[video] += [(*span, label, entry["score"] * float(shares[n])) for n, label in enumerate(labels)]
    return found


@pytest.mark.parametrize("name", ["thumos14", "activitynet"])
def test_localisation_names_proposals(home, name):
    protocol = f"localisation-{name}"
    file = next(path for path in (home / name).glob("*.json") if path.name != "proposals.json")
    data = TestData(home / name / "videos", file, proposals=home / name / "proposals.json")
    report = evaluate(home / "adapter", protocol, data, Resources(cache=home / "cache", device="cpu"))
    database = json.loads(file.read_text())["database"]
    truth = {
        video: [(*one["segment"], one["label"]) for one in entry["annotations"]]
        for video, entry in database.items()
        if entry["annotations"]
    }
    labels = sorted({label for of_video in truth.values() for _, _, label in of_video})
    words = ["baseball pitch", "diving"] if name == "thumos14" else labels
    proposals = json.loads((home / name / "proposals.json").read_text())["results"]
    facts = load_protocol(protocol).to_dict()
    detections = plain_detections(home, "adapter", name, facts, truth, proposals, labels, words)
    expected = temporal_map(truth, detections, facts["tiou_thresholds"])
    for threshold, value in expected.items():
        assert report.figures[f"map_at_{threshold:g}"] == pytest.approx(value)
    assert report.figures["mean_average_precision"] == pytest.approx(fmean(expected.values()))
    assert report.figures["mean_average_precision"] > 0


@pytest.mark.parametrize("share", ["75-25", "50-50"])
@pytest.mark.parametrize("name", ["thumos14", "activitynet"])
def test_open_set_localisation_counts_the_classes_of_each_draw(home, tmp_path, name, share):
    file = next(path for path in (home / name).glob("*.json") if path.name != "proposals.json")
    labels = ["BaseballPitch", "Diving"] if name == "thumos14" else ["Archery", "Beach soccer"]
    for number in range(10):
        (tmp_path / f"split_{number}.list").write_text("\n".join(labels[: 1 + number % 2]) + "\n")
    data = TestData(home / name / "videos", file, tmp_path, proposals=home / name / "proposals.json")
    resources = Resources(cache=home / "cache", device="cpu")
    report = evaluate(home / "clip", f"localisation-{name}-open-{share}", data, resources)
    facts = load_protocol(f"localisation-{name}-open-{share}").to_dict()
    database = json.loads(file.read_text())["database"]
    proposals = json.loads((home / name / "proposals.json").read_text())["results"]
    expected = []
    for chosen in (labels[:1], labels):
        truth = {
            video: [(*one["segment"], one["label"]) for one in entry["annotations"] if one["label"] in chosen]
            for video, entry in database.items()
        }
        truth = {video: events for video, events in truth.items() if events}
        words = [benchmarks_words(label) for label in chosen] if name == "thumos14" else chosen
        detections = plain_detections(home, "clip", name, facts, truth, proposals, chosen, words)
        expected.append(temporal_map(truth, detections, facts["tiou_thresholds"]))
    assert len(report.parts) == 10
    for number, part in enumerate(report.parts):
        assert part.num_classes == 1 + number % 2
        for threshold, value in expected[number % 2].items():
            assert part.figures[f"map_at_{threshold:g}"] == pytest.approx(value)
    whole = [fmean(expected[number % 2].values()) for number in range(10)]
    assert report.figures["mean_average_precision_mean"] == pytest.approx(fmean(whole))
    assert report.figures["mean_average_precision_deviation"] == pytest.approx(pstdev(whole))


def test_localisation_without_proposals_joins_windows_that_score(home):
    file = home / "thumos14" / "thumos14.json"
    data = TestData(home / "thumos14" / "videos", file)
    protocol = load_protocol("localisation-thumos14").with_changes({"soft_nms_sigma": 0.5})
    report = evaluate(home / "clip", protocol, data, Resources(cache=home / "cache", device="cpu"))
    assert report.data["counts"]["test"]["proposals"] == 4 * 5  # windows of a second in videos of five
    assert any("No file of proposals" in note for note in report.notes)
    assert {row["label"] for row in report.predictions} <= {"BaseballPitch", "Diving"}
    borders = {row["start"] for row in report.predictions}
    assert borders <= {0.0, 1.0, 2.0, 3.0, 4.0}


@pytest.mark.parametrize("protocol", ["supervised-k400-3x1", "zero-shot-hmdb51"])
@torch.no_grad()
def test_efficient_prompt_takes_names_alone(home, protocol):
    fields = {"num_frames": 4, "num_temporal_heads": 4, "prefix_length": 3, "suffix_length": 2}
    folder = home / "efficient"
    if not folder.exists():
        torch.manual_seed(0)
        model = EfficientPromptModel.from_pretrained(home / "clip", id2label=dict(enumerate(OWN)), **fields)
        for name, parameter in model.named_parameters():
            if parameter.requires_grad and name != "logit_scale":
                parameter.add_(torch.randn_like(parameter) * 0.3)
        model.save_pretrained(folder)
        PROCESSOR.save_pretrained(folder)
    name = "kinetics" if "k400" in protocol else "hmdb51"
    report = run(home, "efficient", protocol, name)
    model = EfficientPromptModel.from_pretrained(folder).eval()
    for part in report.parts:
        rows, names = rows_of(home, name, "validate" if name == "kinetics" else part.split)
        texts = None
        if name == "hmdb51":
            tokens = PROCESSOR.tokenizer(names, padding=True, return_tensors="pt")
            texts = model.get_text_features(**tokens).pooler_output
        facts, scores = load_protocol(protocol).to_dict(), []
        for video, _ in rows:
            logits = model(clips_of(video, PROCESSOR, facts), text_embeds=texts).logits_per_video
            logits = logits if texts is not None else logits[:, [OWN.index(label) for label in names]]
            scores.append(logits.softmax(-1).mean(0))
        assert part.figures["top_1"] == top_1(scores, ids(rows, names))
        assert part.class_texts == ("own" if name == "kinetics" else "names")


@torch.no_grad()
def test_shared_contexts_stand_around_other_names(home):
    folder = home / "unified"
    if not folder.exists():
        toy_adapter_on(home / "clip", OWN, text_prompt_scope="unified").save_pretrained(folder)
        PROCESSOR.save_pretrained(folder)
    protocol = load_protocol("zero-shot").with_changes({"class_texts": "contexts"})
    data = TestData(home / "hmdb51" / "videos")
    for name, kind in (("unified", "contexts"), ("adapter", "templates"), ("clip", "templates")):
        report = evaluate(home / name, protocol, data, Resources(cache=home / "cache", device="cpu"))
        assert report.parts[0].class_texts == kind
    report = evaluate(home / "unified", protocol, data, Resources(cache=home / "cache", device="cpu"))
    rows = load_videos(home / "hmdb51" / "videos")
    names = rows.features["label"].names
    model = VitaClipModel.from_pretrained(folder).eval()
    tokens = PROCESSOR.tokenizer([f"{name}." for name in names])["input_ids"]
    texts = model.get_class_features(label_token_ids=tokens).pooler_output
    scores = [
        probabilities_of(clips_of(video, PROCESSOR, protocol.to_dict()), model, texts) for video in rows["video"]
    ]
    assert report.figures["top_1"] == top_1(scores, rows["label"])


@pytest.mark.parametrize("protocol", ["supervised", "zero-shot", "few-shot"])
def test_protocols_for_videos_of_ones_own_take_class_folders(home, protocol):
    """Names of its own for `supervised` and `few-shot`: a list's classes are found among the model's."""
    folder = home / "own"
    if not folder.exists():
        for label, name in enumerate(benchmarks.KINETICS):
            for number in range(1 + label):  # classes of unequal size
                benchmarks.write_video(folder / name / f"{number}.mp4", seed=f"{name}{number}")
    resources = Resources(cache=home / "cache", device="cpu")
    report = evaluate(home / "adapter", protocol, TestData(folder), resources)
    rows = load_videos(folder)
    names = rows.features["label"].names
    pairs = list(zip(rows["video"], [names[label] for label in rows["label"]], strict=True))
    scores = plain_scores(home, "adapter", pairs, names, protocol, own=protocol != "zero-shot")
    labels = ids(pairs, names)
    assert report.figures["top_1"] == top_1(scores, labels)
    assert report.figures["top_5"] == top_5(scores, labels)
    if protocol != "few-shot":
        right = [int(row.argmax()) == label for row, label in zip(scores, labels, strict=True)]
        by_class = [[ok for ok, label in zip(right, labels, strict=True) if label == one] for one in range(len(names))]
        assert report.figures["mean_class_accuracy"] == pytest.approx(fmean(map(fmean, by_class)))


def test_base_and_novel_classes_of_ones_own(home, tmp_path):
    halves = {"base": list(benchmarks.KINETICS[1:]), "novel": [benchmarks.KINETICS[0]]}
    splits = load_protocol("base-to-novel").to_dict()["splits"]
    for name, labels in halves.items():
        (tmp_path / f"{name}.txt").write_text("\n".join(labels) + "\n")
    changed = [{**split, "lists": [], "classes": f"{split['name']}.txt"} for split in splits]
    protocol = load_protocol("base-to-novel").with_changes({"splits": changed, "seeds": [1, 2]})
    data = TestData(home / "kinetics" / "videos", home / "kinetics" / "kinetics.csv", tmp_path)
    report = evaluate(home / "seed{seed}", protocol, data, Resources(cache=home / "cache", device="cpu"))
    rows, _ = rows_of(home, "kinetics", "validate")
    means = []
    for labels in halves.values():
        chosen = [row for row in rows if row[1] in labels]
        found = [plain_scores(home, f"seed{seed}", chosen, labels, "base-to-novel", own=True) for seed in (1, 2)]
        means.append(fmean(top_1(scores, ids(chosen, labels)) for scores in found))
    assert report.figures["base_top_1_mean"] == pytest.approx(means[0])
    assert report.figures["novel_top_1_mean"] == pytest.approx(means[1])
    assert report.figures["harmonic_mean"] == pytest.approx(2 * means[0] * means[1] / (sum(means) or 1))


def test_captions_and_proposals_of_ones_own_are_scored_as_those_of_the_benchmarks(home, tmp_path):
    """`retrieval` and `localisation` are the base of theirs: the same facts, and no counts."""
    resources = Resources(cache=home / "cache", device="cpu")
    videos, captions = home / "msrvtt" / "videos", home / "msrvtt" / "MSRVTT_JSFUSION_test.csv"
    own, theirs = (
        evaluate(home / "clip", name, TestData(videos, captions), resources)
        for name in ("retrieval", "retrieval-msrvtt-1ka")
    )
    assert own.figures == theirs.figures
    assert (own.is_partial, theirs.is_partial) == (False, True)
    name = "activitynet"
    data = TestData(
        home / name / "videos",
        home / name / "activity_net.v1-3.min.json",
        proposals=home / name / "proposals.json",
    )
    own, theirs = (evaluate(home / "clip", f"localisation{end}", data, resources) for end in ("", f"-{name}"))
    assert own.figures == theirs.figures
    assert (own.is_partial, theirs.is_partial) == (False, True)


# The test that compares each protocol with an evaluation in plain steps.
PROVEN = {
    test_supervised: ("supervised-k400-4x3", "supervised-k400-3x1", "supervised-ssv2-1x3"),
    test_zero_shot_is_the_mean_over_three_splits: tuple(
        f"zero-shot-{name}{frames}" for name in ("hmdb51", "ucf101") for frames in ("", "-32f")
    ),
    test_half_of_the_classes_are_told_apart_among_themselves: ("zero-shot-hmdb51-half", "zero-shot-ucf101-half"),
    test_zero_shot_on_some_classes_of_kinetics: ("zero-shot-k600", "zero-shot-k600-32f"),
    test_open_set: ("open-set-k700",),
    test_few_shot_has_a_figure_for_each_number_of_shots: ("few-shot-hmdb51", "few-shot-ucf101", "few-shot-ssv2"),
    test_base_to_novel_has_the_harmonic_mean_of_the_means_over_seeds: tuple(
        f"base-to-novel-{name}" for name in ("hmdb51", "ucf101", "ssv2", "k400")
    ),
    test_episodes_test_on_the_videos_that_are_not_trained_on: ("five-way-five-shot",),  # and test_learned_draws.py
    test_retrieval_counts_ranks_both_ways: tuple(
        f"retrieval-{form}" for form in ("msrvtt-1ka", "msrvtt-full", "lsmdc", "didemo", "smit")
    ),
    test_localisation_names_proposals: ("localisation-thumos14", "localisation-activitynet"),
    test_open_set_localisation_counts_the_classes_of_each_draw: tuple(
        f"localisation-{name}-open-{share}" for name in ("thumos14", "activitynet") for share in ("75-25", "50-50")
    ),
    test_protocols_for_videos_of_ones_own_take_class_folders: ("supervised", "zero-shot", "few-shot"),
    test_base_and_novel_classes_of_ones_own: ("base-to-novel",),
    test_captions_and_proposals_of_ones_own_are_scored_as_those_of_the_benchmarks: ("retrieval", "localisation"),
}


def test_every_protocol_is_compared_with_plain_steps():
    assert sorted(name for names in PROVEN.values() for name in names) == protocol_names()


def test_runs_are_the_placeholders_of_a_models_name():
    few_shot = load_protocol("few-shot").with_changes({"seeds": [1, 2]})
    runs = plan_runs("runs/k{shots}/seed{seed}", few_shot)
    assert [run.model for run in runs][:3] == ["runs/k2/seed1", "runs/k2/seed2", "runs/k4/seed1"]
    assert runs[0].label == "k2 seed1"
    assert [run.model for run in plan_runs("runs/k{shots}", few_shot)] == [f"runs/k{k}" for k in (2, 4, 8, 16)]
    assert len(plan_runs("runs/{draw}", load_protocol("five-way-five-shot"))) == 200
    assert [run.label for run in plan_runs("one", few_shot)] == [""]
