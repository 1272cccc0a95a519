"""``python -m fastgmm`` is the command line."""

from fastgmm.cli import main

if __name__ == "__main__":
    main()
