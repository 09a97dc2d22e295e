"""What all HTTP endpoints share: request context, transactions, errors, lists."""
