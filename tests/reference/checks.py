"""What the checks share: how they are skipped, and how they run programs."""
import contextlib
import subprocess
import sys

SKIP = 77  # the status that ctest counts as skipped


def skip(why):
    print(f"skipped: {why}")
    sys.exit(SKIP)


@contextlib.contextmanager
def needed():
    """Around imports: where one of them is missing, the check is skipped."""
    try:
        yield
    except ImportError as missing:
        skip(missing)


def run(*command, **more):
    """What the program printed on standard output; where it fails, the check does. `more` is for subprocess.run."""
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True, **more)
    if done.returncode:
        sys.exit(f"{' '.join(words)}: status {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout
