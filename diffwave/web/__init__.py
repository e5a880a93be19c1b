"""What a browser is shown: pages that open offline, and the addresses that servers go by."""
