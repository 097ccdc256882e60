from order_engine.execution.migrations import environment

environment.run(history="orders")
