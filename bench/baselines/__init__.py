"""What the product is measured against: the same job done plainly, without labels, row-level security and ledger."""
