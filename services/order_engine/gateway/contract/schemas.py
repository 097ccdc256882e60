"""How models become the schemas of OpenAPI and AsyncAPI."""

from typing import Any

from pydantic.json_schema import GenerateJsonSchema

REF = "#/components/schemas/{model}"


class Schemas(GenerateJsonSchema):
    """Without a title for every field, which says its name again."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False
