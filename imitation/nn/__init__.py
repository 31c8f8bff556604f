"""What policies, energies and control share: networks for populations, their fast products, starts and optimiser."""
