"""What the learners of all packages are built on: networks for populations, their products, and Adam."""
