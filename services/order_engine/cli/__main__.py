from order_engine.cli.main import app

app()
