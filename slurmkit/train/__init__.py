"""What a PyTorch program uses: session, resumable loader, agreement on when to save and to stop."""
