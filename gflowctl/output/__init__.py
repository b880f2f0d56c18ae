"""How gflowctl prints: text, tables, JSON, logs as they grow. Changes nothing."""
