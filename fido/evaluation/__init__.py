"""From stores of explanations to scores, tables and figures, without a new explanation."""
