"""JSON Schemas of the models, for OpenAPI and AsyncAPI."""

from typing import Any

from pydantic.json_schema import GenerateJsonSchema

REF = "#/components/schemas/{model}"


class Schemas(GenerateJsonSchema):
    """Without a title for each field: it would repeat the name."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False
