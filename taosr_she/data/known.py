"""What earlier rows of a file said: a row that contradicts or repeats one of them is rejected."""

from collections.abc import Callable, MutableMapping

from taosr_she.data.rows import BadRow, ReadPair, normal_query

Texts = MutableMapping[str, str]


class Known:
    """Ids, queries and labels of the pairs so far, in memory, or wherever `texts(name)` keeps a dict of texts."""

    def __init__(self, may_repeat: bool = False, texts: Callable[[str], Texts] = lambda name: {}) -> None:
        self.may_repeat = may_repeat
        self.count = 0  # of queries, as splits count them
        self.queries = texts("queries")  # query_id -> normal query
        self.normal = texts("normal")  # normal query -> ""
        self.labels = texts("labels")  # identity -> label
        self.unnamed = texts("unnamed")  # identities of pairs without an id of their own -> ""
        self.ids = texts("ids")  # pair_id -> identity

    def add(self, read: ReadPair) -> None:
        """Record the pair, or raise BadRow if it contradicts or repeats an earlier one."""
        pair, query = read.pair, normal_query(read.pair.query)
        known_query, known_label = self.queries.get(pair.query_id), self.labels.get(read.identity)
        known_id = self.ids.get(pair.pair_id)
        if known_query is not None and known_query != query:
            raise BadRow("conflicting query id", f"{pair.query_id} is the id of '{known_query[:80]}'")
        if pair.label is not None and known_label is not None and known_label != pair.label:
            raise BadRow("same pair with another label", f"{pair.label} here, {known_label} earlier")
        if read.named and known_id is not None and not self.may_repeat:
            raise BadRow("duplicate pair id", f"{pair.pair_id} occurs earlier")
        if known_id is not None and known_id != read.identity:
            # References by people and the reasoning of the GSRM are looked up by the pair's id.
            raise BadRow("conflicting pair id", f"{pair.pair_id} is the id of another query or product earlier")
        if not read.named and read.identity in self.unnamed and not self.may_repeat:
            raise BadRow("duplicate pair", f"the same query and product occur earlier (id {pair.pair_id})")
        if known_query is None:
            self.queries[pair.query_id] = query
            if query not in self.normal:
                self.normal[query] = ""
                self.count += 1
        if known_id is None:
            self.ids[pair.pair_id] = read.identity
        if not read.named:
            self.unnamed[read.identity] = ""
        if pair.label is not None and known_label is None:
            self.labels[read.identity] = pair.label
