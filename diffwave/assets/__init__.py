"""What the package ships: the default checkpoint and one utterance to try it on."""
