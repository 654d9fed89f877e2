"""``python -m funcx_lab_hub_service``."""

import sys

from funcx_lab_hub_service.unpickling import refuse_unpickling

refuse_unpickling()
# sqlite-utils imports pandas where it finds it: 0.3 s and 60 MB for a feature that is not used here.
sys.modules.setdefault("pandas", None)  # type: ignore[arg-type]  # how Python says: not importable

from funcx_lab_hub_service.cli import main  # noqa: E402  # only after unpickling is refused

if __name__ == "__main__":
    raise SystemExit(main())
