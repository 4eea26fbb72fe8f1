"""Taking in images: durable before acknowledged, bytes as sent, matched to a case or set aside."""
