"""The networks: ``nn.Module`` only, with the official attribute names. Knows torch only."""
