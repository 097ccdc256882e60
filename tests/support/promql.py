"""The metrics of a PromQL query, with their labels and the functions around them."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import promql_parser as promql


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """One metric in a query. `inside` are the functions and aggregations around it, the outermost
    first; `aggregations` those of them that aggregate, each with the labels that it keeps.
    """

    metric: str
    matchers: frozenset[tuple[str, str]]  # label and value; of a regular expression each choice
    inside: tuple[str, ...] = ()
    aggregations: tuple[tuple[str, frozenset[str]], ...] = ()

    @property
    def labels(self) -> frozenset[str]:
        """Every label that the query uses of this metric."""
        return frozenset(name for name, _ in self.matchers).union(
            *(kept for _, kept in self.aggregations)
        )


def uses(query: str) -> list[Use]:
    """Every metric of a query. Raises ValueError when it is not a query."""
    return list(_uses(promql.parse(query)))


def _uses(node: promql.Expr) -> Iterator[Use]:
    match node:
        case promql.VectorSelector():
            yield Use(metric=node.name or "", matchers=frozenset(_choices(node)))
        case promql.MatrixSelector():
            yield from _uses(node.vector_selector)
        case promql.Call():
            for argument in node.args:
                for use in _uses(argument):
                    yield replace(use, inside=(node.func.name, *use.inside))
        case promql.AggregateExpr():
            operation, kept = str(node.op), frozenset[str]()
            if node.modifier is not None:
                if node.modifier.type is not promql.AggModifierType.By:
                    raise ValueError(f"{operation} without: labels of a scrape would stay")
                kept = frozenset(node.modifier.labels)
            for use in _uses(node.expr):
                yield replace(
                    use,
                    inside=(operation, *use.inside),
                    aggregations=((operation, kept), *use.aggregations),
                )
        case promql.BinaryExpr():
            yield from _uses(node.lhs)
            yield from _uses(node.rhs)
        case promql.ParenExpr() | promql.UnaryExpr() | promql.SubqueryExpr():
            yield from _uses(node.expr)
        case promql.NumberLiteral() | promql.StringLiteral():
            return
        case _:
            raise ValueError(f"not understood: {type(node).__name__}")


def _choices(selector: promql.VectorSelector) -> Iterator[tuple[str, str]]:
    for matcher in selector.matchers.matchers:
        is_pattern = matcher.op in (promql.MatchOp.Re, promql.MatchOp.NotRe)
        for value in matcher.value.split("|") if is_pattern else (matcher.value,):
            yield matcher.name, value
