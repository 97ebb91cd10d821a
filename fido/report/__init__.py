"""From scores and stores to tables and figures."""
