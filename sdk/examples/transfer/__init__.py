"""Money transfers between accounts of a bank that is sometimes slow or down."""
