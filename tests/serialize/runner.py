"""What a worker does with a folder that corpus.py packed: runner.py FOLDER."""

import sys
from pathlib import Path

from funcx_lab import serialize


def main(folder):
    for file in sorted(folder.glob("*.function")):
        function = serialize.unpack_function(file.read_bytes(), task_id=file.stem)
        args, kwargs = serialize.unpack_arguments(file.with_suffix(".arguments").read_bytes())
        try:
            value = function(*args, **kwargs)
        except Exception as err:
            raise RuntimeError(f"{file.stem} failed") from err
        file.with_suffix(".result").write_bytes(serialize.pack_value(value).tobytes())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
