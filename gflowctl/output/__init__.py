"""What gflowctl prints: text, tables, JSON, growing logs. Changes nothing."""
