"""When a schedule fires: rules and time, without a store, a task or a clock of its own."""
