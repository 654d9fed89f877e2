"""``python -m funcx_lab_hub_service``."""

from funcx_lab_hub_service.unpickling import refuse_unpickling

refuse_unpickling()

from funcx_lab_hub_service.cli import main  # noqa: E402  # only after unpickling is refused

if __name__ == "__main__":
    raise SystemExit(main())
