"""``python -m elman`` is the command ``elman``; torchrun starts it so."""

from elman.cli import main

if __name__ == "__main__":
    main()
