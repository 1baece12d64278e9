"""`vita-clip publish`."""

import argparse
import sys
from pathlib import Path

EPILOG = """examples:
  vita-clip publish my_adapter user/my-adapter --dry-run
  vita-clip publish my_adapter user/my-adapter --license apache-2.0 --example clip.mp4 --private

What belongs to a checkpoint is published in one commit: weights, configuration, processor, code, a card, files for
serving, the training's log, and the reports of `vita-clip evaluate` in its folder evaluation/. Anything else stays
behind. A file with a token, a key, a password or a path of this machine stops it. Log in first: hf auth login."""


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Adds the command to those of `vita-clip`."""
    parser = commands.add_parser(
        "publish",
        help="put an adapter on the Hub, with a card and all that runs and serves it",
        description="Publishes a folder that a training or save_pretrained wrote, in one commit.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", metavar="ADAPTER", help="folder of an adapter or a full checkpoint")
    parser.add_argument("repo_id", metavar="USER/NAME", help="repository on the Hub; made if it does not exist")
    parser.add_argument("--dry-run", action="store_true", help="list files and sizes, and send nothing")
    parser.add_argument(
        "--private",
        action="store_true",
        default=None,
        help="make a new repository private, and stop if a public one is there",
    )
    parser.add_argument("--create-pr", action="store_true", help="open a pull request in place of a commit")
    parser.add_argument("--revision", metavar="BRANCH", help="commit to this branch (default: main)")
    parser.add_argument("--message", default="Upload model", help="of the commit (default: %(default)s)")
    parser.add_argument("--base", metavar="USER/NAME", help="the base's Hub id, if the adapter names a folder")
    parser.add_argument("--base-revision", metavar="REV", help="the base's commit, branch or tag that is loaded")
    parser.add_argument("--example", metavar="VIDEO", help="a short clip, shown with the model's answer")
    parser.add_argument(
        "--report",
        action="append",
        default=[],
        metavar="FOLDER",
        help="that `vita-clip evaluate --out` wrote; may repeat",
    )
    parser.add_argument("--license", help='of the weights, by the Hub\'s name for it, such as "apache-2.0"')
    parser.add_argument("--language", help='of the class names, such as "en"')
    parser.add_argument("--dataset", action="append", default=[], metavar="ID", help="trained on; may repeat")
    parser.add_argument("--tag", action="append", default=[], help="beside those of every card; may repeat")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """
    Runs the command with the options of `add_parser`.

    Raises:
        OSError: the folder holds no checkpoint, or the Hub refuses it.
        ValueError: a file must not be published, or an option makes no sense.
    """
    from huggingface_hub.utils import validate_repo_id

    from .cards import CardDetails
    from .staging import Additions
    from .upload import prepared, publish_folder

    validate_repo_id(options.repo_id)
    if not Path(options.folder).is_dir():
        raise OSError(f"{options.folder}: no such folder; expected one that a training or save_pretrained wrote.")
    details = CardDetails(options.license, options.language, tuple(options.tag), tuple(options.dataset))
    additions = Additions(options.base, options.base_revision, options.example, tuple(options.report))
    if options.dry_run:
        with prepared(options.folder, options.repo_id, details, additions) as ready:
            print(ready.as_text())
        print(f"vita-clip publish: nothing was sent to {options.repo_id}", file=sys.stderr)
        return
    info = publish_folder(
        options.folder,
        options.repo_id,
        details,
        additions=additions,
        private=options.private,
        revision=options.revision,
        create_pr=options.create_pr,
        commit_message=options.message,
    )
    print(info.pr_url or info.commit_url)


__all__ = ["add_parser", "run"]
