#!/usr/bin/env python3
"""Lists a crate's public API from rustdoc's JSON, an item a line, sorted by path.

Usage: api.py CRATE.json [OTHER.json...]. What the first crate re-exports from the others is listed as its own.
"""

import json
import sys

# Of these, only that they are there would be said, for nearly every type.
UNTOLD = {"StructuralPartialEq", "Freeze", "Unpin", "UnsafeUnpin", "RefUnwindSafe", "UnwindSafe"}


class Crate:
    """One crate's items."""

    def __init__(self, path):
        with open(path, encoding="utf-8") as file:
            crate = json.load(file)
        self.index = crate["index"]
        self.root = self.item(crate["root"])
        self.name = self.root["name"]

    def item(self, key):
        return self.index.get(str(key))

    def public(self, name):
        """The item that the crate's root has under this name."""
        for key in inner(self.root)["items"]:
            item = self.item(key)
            if item is None:
                continue
            if "use" in item["inner"] and inner(item)["name"] == name:
                return self.item(inner(item)["id"])
            if item["name"] == name and item["visibility"] == "public":
                return item
        return None


def inner(item):
    (value,) = item["inner"].values()
    return value


def kind_of(item):
    (kind,) = item["inner"]
    return kind


def tagged(value):
    """An enum of serde's: its variant and what that holds."""
    if isinstance(value, dict):
        ((tag, content),) = value.items()
        return tag, content
    return value, None


def last(path):
    return path.split("::")[-1]


def arguments(args):
    if not args:
        return ""
    tag, content = tagged(args)
    if tag == "parenthesized":
        output = f" -> {typ(content['output'])}" if content.get("output") else ""
        return "(" + ", ".join(map(typ, content["inputs"])) + ")" + output
    if tag != "angle_bracketed":
        return ""
    parts = []
    for argument in content["args"]:
        what, value = tagged(argument)
        if what == "lifetime":
            parts.append(value)
        elif what == "type":
            parts.append(typ(value))
        elif what == "const":
            parts.append(value["expr"])
        else:
            parts.append("_")
    for constraint in content["constraints"]:
        name = constraint["name"] + arguments(constraint.get("args"))
        what, value = tagged(constraint["binding"])
        if what == "equality":
            _, value = tagged(value)
            parts.append(f"{name} = {typ(value) if isinstance(value, dict) and 'expr' not in value else value}")
        else:
            parts.append(f"{name}: {bounds(value)}")
    return "<" + ", ".join(parts) + ">" if parts else ""


def trait(path):
    return last(path["path"]) + arguments(path.get("args"))


def bounds(all_of_them):
    parts = []
    for bound in all_of_them:
        what, value = tagged(bound)
        if what == "trait_bound":
            modifier = {"maybe": "?", "maybe_const": "~const "}.get(value["modifier"], "")
            parts.append(higher(value["generic_params"]) + modifier + trait(value["trait"]))
        elif what == "outlives":
            parts.append(value)
        else:
            parts.append("use<..>")
    return " + ".join(parts)


def higher(params):
    return "for<" + ", ".join(param["name"] for param in params) + "> " if params else ""


def typ(value):
    if value is None:
        return "()"
    what, content = tagged(value)
    if what == "resolved_path":
        return trait(content)
    if what in ("generic", "primitive"):
        return content
    if what == "borrowed_ref":
        lifetime = content["lifetime"] + " " if content["lifetime"] else ""
        return "&" + lifetime + ("mut " if content["is_mutable"] else "") + typ(content["type"])
    if what == "raw_pointer":
        return ("*mut " if content["is_mutable"] else "*const ") + typ(content["type"])
    if what == "tuple":
        return "(" + ", ".join(map(typ, content)) + ")"
    if what == "slice":
        return f"[{typ(content)}]"
    if what == "array":
        return f"[{typ(content['type'])}; {content['len']}]"
    if what == "dyn_trait":
        parts = [higher(part["generic_params"]) + trait(part["trait"]) for part in content["traits"]]
        if content["lifetime"]:
            parts.append(content["lifetime"])
        return "dyn " + " + ".join(parts)
    if what == "impl_trait":
        return "impl " + bounds(content)
    if what == "function_pointer":
        return signature("fn", content["sig"])
    if what == "qualified_path":
        of = typ(content["self_type"])
        if content.get("trait") and content["trait"]["path"] and of != "Self":
            of = f"<{of} as {trait(content['trait'])}>"
        return of + "::" + content["name"] + arguments(content.get("args"))
    return what


def signature(name, sig):
    inputs = []
    for argument, of in sig["inputs"]:
        of = typ(of)
        own = {"Self": "self", "&Self": "&self", "&mut Self": "&mut self"}
        inputs.append(own.get(of, f"self: {of}") if argument == "self" else f"{argument}: {of}")
    output = f" -> {typ(sig['output'])}" if sig["output"] else ""
    return f"{name}({', '.join(inputs)}){output}"


def generics(of):
    """Parameters, and what is demanded of them."""
    names, demands = [], []
    for param in of["params"]:
        what, content = tagged(param["kind"])
        if what == "type":
            if content["is_synthetic"]:
                continue
            default = f" = {typ(content['default'])}" if content.get("default") else ""
            demand = f": {bounds(content['bounds'])}" if content["bounds"] else ""
            names.append(param["name"] + demand + default)
        elif what == "const":
            names.append(f"const {param['name']}: {typ(content['type'])}")
        else:
            names.append(param["name"] + (f": {' + '.join(content['outlives'])}" if content["outlives"] else ""))
    for predicate in of["where_predicates"]:
        what, content = tagged(predicate)
        if what == "bound_predicate":
            demands.append(higher(content["generic_params"]) + f"{typ(content['type'])}: {bounds(content['bounds'])}")
        elif what == "lifetime_predicate":
            demands.append(f"{content['lifetime']}: {' + '.join(content['outlives'])}")
        else:
            demands.append(f"{typ(content['lhs'])} = ...")
    return ("<" + ", ".join(names) + ">" if names else ""), (" where " + ", ".join(demands) if demands else "")


class Listing:
    """Lines, by walking through what is public."""

    def __init__(self, crates):
        self.crates = {crate.name: crate for crate in crates}
        self.lines = set()
        self.traits = {}

    def add(self, path, line, order=1):
        self.lines.add((path, order, line))

    def print(self):
        for path, names in self.traits.items():
            self.add(path, f"impl {path}: {', '.join(sorted(names))}", 2)
        for _, _, line in sorted(self.lines):
            print(line)

    def module(self, crate, path, item):
        self.add(path, f"mod {path}", 0)
        for key in inner(item)["items"]:
            child = crate.item(key)
            if child is None or child["visibility"] != "public":
                continue
            if "use" in child["inner"]:
                self.use(crate, path, inner(child))
            else:
                self.item(crate, path, child, child["name"])

    def use(self, crate, path, use):
        target = crate.item(use["id"]) if use["id"] is not None else None
        if target is not None and not use["is_glob"]:
            return self.item(crate, path, target, use["name"])
        origin, _, name = use["source"].rpartition("::")
        other = self.crates.get(origin)
        target = other.public(name) if other and not use["is_glob"] else None
        if target is not None:
            return self.item(other, path, target, use["name"])
        return self.add(f"{path}::{use['name']}", f"use {use['source']} as {path}::{use['name']}")

    def item(self, crate, above, item, name):
        kind, value = kind_of(item), inner(item)
        path = f"{above}::{name}"
        if kind == "module":
            self.module(crate, path, item)
        elif kind in ("struct", "enum", "union"):
            self.datatype(crate, path, item, kind, value)
        elif kind == "function":
            self.function(path, value)
        elif kind == "trait":
            params, where = generics(value["generics"])
            start = ("unsafe " if value["is_unsafe"] else "") + "trait"
            demand = f": {bounds(value['bounds'])}" if value["bounds"] else ""
            self.add(path, f"{start} {path}{params}{demand}{where}")
            for key in value["items"]:
                self.member(crate, path, crate.item(key), of_trait=True)
        elif kind == "type_alias":
            params, where = generics(value["generics"])
            self.add(path, f"type {path}{params} = {typ(value['type'])}{where}")
        elif kind == "constant":
            self.add(path, f"const {path}: {typ(value['type'])}")
        elif kind == "static":
            self.add(path, f"static {path}: {typ(value['type'])}")
        else:
            self.add(path, f"{kind} {path}")

    def datatype(self, crate, path, item, kind, value):
        params, where = generics(value["generics"])
        open_end = any("non_exhaustive" in str(attribute) for attribute in item["attrs"])
        self.add(path, f"{'#[non_exhaustive] ' if open_end else ''}{kind} {path}{params}{where}")
        if kind == "enum":
            for key in value["variants"]:
                self.variant(crate, path, crate.item(key))
        elif kind == "struct":
            self.fields(crate, path, value["kind"])
        for key in value["impls"]:
            self.implementation(crate, path, crate.item(key))

    def fields(self, crate, path, kind, always=False):
        what, content = tagged(kind)
        if content is None:
            return
        if what in ("plain", "struct"):
            keys = content["fields"]
        elif what == "tuple":
            keys = content
        else:
            return
        hidden = what in ("plain", "struct") and content.get("has_stripped_fields", False)
        for key in keys:
            field = crate.item(key) if key is not None else None
            if field is None:
                continue
            if always or field["visibility"] == "public":
                here = f"{path}.{field['name']}"
                self.add(here, f"field {here}: {typ(inner(field))}")
        if hidden or (what == "tuple" and None in keys):
            self.add(path, f"private fields of {path}", 2)

    def variant(self, crate, path, item):
        if item is None:
            return
        here = f"{path}::{item['name']}"
        open_end = any("non_exhaustive" in str(attribute) for attribute in item["attrs"])
        self.add(here, f"{'#[non_exhaustive] ' if open_end else ''}variant {here}")
        self.fields(crate, here, inner(item)["kind"], always=True)

    def implementation(self, crate, path, item):
        if item is None:
            return
        block = inner(item)
        if block["trait"] is None:
            for key in block["items"]:
                self.member(crate, path, crate.item(key), of=block)
            return
        # Auto traits are told of where they do not hold for every argument, or not at all: Send and Sync matter.
        name = last(block["trait"]["path"])
        if block["blanket_impl"] is not None or name in UNTOLD:
            return
        params, where = generics(block["generics"])
        negative = "!" if block["is_negative"] else ""
        for_type = typ(block["for"])
        own = block["for"].get("resolved_path", {}).get("path") if isinstance(block["for"], dict) else None
        if not where and own and last(own) == last(path) and not any(
            tagged(param["kind"])[0] == "type" for param in block["generics"]["params"]
        ):
            self.traits.setdefault(path, set()).add(negative + trait(block["trait"]))
        else:
            self.add(path, f"impl{params} {negative}{trait(block['trait'])} for {for_type}{where} ({path})", 3)
        for key in block["items"]:
            associated = crate.item(key)
            if associated is not None and kind_of(associated) == "assoc_type":
                of = typ(inner(associated)["type"])
                line = f"type <{for_type} as {trait(block['trait'])}>::{associated['name']} = {of} ({path})"
                self.add(path, line, 4)

    def member(self, crate, path, item, of=None, of_trait=False):
        if item is None or (not of_trait and item["visibility"] != "public"):
            return
        here = f"{path}::{item['name']}"
        kind, value = kind_of(item), inner(item)
        where = ""
        if of is not None:
            params, demands = generics(of["generics"])
            where = f" [impl{params}{demands}]" if params or demands else ""
        if kind == "function":
            self.function(here, value, where, " (provided)" if of_trait and value["has_body"] else "")
        elif kind == "assoc_type":
            demand = f": {bounds(value['bounds'])}" if value["bounds"] else ""
            default = f" = {typ(value['type'])}" if value.get("type") else ""
            self.add(here, f"type {here}{demand}{default}")
        elif kind == "assoc_const":
            self.add(here, f"const {here}: {typ(value['type'])}{where}")

    def function(self, path, value, more="", provided=""):
        header = value["header"]
        start = "".join(
            word + " " for word in ("const", "async", "unsafe") if header[f"is_{word}"]
        )
        params, where = generics(value["generics"])
        self.add(path, f"{start}fn {signature(path + params, value['sig'])}{where}{more}{provided}")


def main():
    crates = [Crate(path) for path in sys.argv[1:]]
    listing = Listing(crates)
    listing.module(crates[0], crates[0].name, crates[0].root)
    listing.print()


if __name__ == "__main__":
    main()
