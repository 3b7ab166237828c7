"""`python -m cxrexport`: what torchrun starts in each process."""

from cxrexport.cli.app import main

if __name__ == "__main__":
    main()
