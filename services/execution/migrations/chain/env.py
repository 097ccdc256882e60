from execution.migrations import environment

environment.run(schema="chain")
