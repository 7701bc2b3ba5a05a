//! YAML of strangers as a tree: bounded in size, in depth, and in what aliases repeat.

use std::{cell::Cell, fmt};

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::options::DuplicateKeyPolicy;

use crate::problem::{Problem, printable};

/// Deeper than any bundle.
const MAX_DEPTH: usize = 24;
/// Nodes, those of aliases counted each time. A bundle of 50 phases has some 1,500.
const MAX_NODES: usize = 100_000;
/// Bytes that the tree may take, texts of aliases counted each time.
const MAX_BYTES: usize = 16 << 20;

/// Scalars are kept as their text: what a field means, its reader says.
#[derive(Debug, Clone, PartialEq)]
pub enum Node {
    Nothing,
    Text(String),
    List(Vec<Node>),
    /// In the order of the file; of two equal keys the last counts.
    Map(Vec<(String, Node)>),
}

impl Node {
    /// Shows all texts below, not the keys.
    pub fn scalars(&self, see: &mut dyn FnMut(&str)) {
        match self {
            Node::Nothing => {}
            Node::Text(text) => see(text),
            Node::List(list) => list.iter().for_each(|node| node.scalars(see)),
            Node::Map(map) => map.iter().for_each(|(_, node)| node.scalars(see)),
        }
    }

    /// Shows all texts that stand below these keys, wherever they are.
    pub fn of_keys(&self, keys: &[&str], see: &mut dyn FnMut(&str)) {
        match self {
            Node::Nothing | Node::Text(_) => {}
            Node::List(list) => list.iter().for_each(|node| node.of_keys(keys, see)),
            Node::Map(map) => {
                for (key, node) in map {
                    match node {
                        Node::Text(text) if keys.contains(&key.as_str()) => see(text),
                        node => node.of_keys(keys, see),
                    }
                }
            }
        }
    }

    /// In short, for the report.
    pub fn shown(&self) -> String {
        match self {
            Node::Nothing => String::new(),
            Node::Text(text) => printable(text),
            Node::List(list) => match list.iter().map(Node::text).collect::<Option<Vec<_>>>() {
                Some(texts) => printable(&texts.join(", ")),
                None => format!("{} items", list.len()),
            },
            Node::Map(map) => format!("{} fields", map.len()),
        }
    }

    pub fn text(&self) -> Option<&str> {
        match self {
            Node::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// Codes: `bad_bundle`.
pub fn parse(text: &str) -> Result<Node, Problem> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: MAX_DEPTH,
            max_nodes: MAX_NODES,
            max_events: 3 * MAX_NODES,
            max_recorded_anchor_events: MAX_NODES,
            max_recorded_anchor_bytes: MAX_BYTES,
            max_documents: 1,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: MAX_NODES,
            max_replay_stack_depth: MAX_DEPTH,
        },
        // As Python's reader, which both platforms use.
        duplicate_keys: DuplicateKeyPolicy::LastWins,
        leading_zero_numbers_as_strings: true,
        with_snippet: false,
    };
    let left = Cell::new(MAX_BYTES);
    let read = serde_saphyr::with_deserializer_from_str_with_options(text, options, |from| {
        Seed { left: &left, depth: 0 }.deserialize(from)
    });
    read.map_err(|error| {
        let place = match error.location() {
            Some(at) => format!("competition.yaml, line {}", at.line()),
            None => "competition.yaml".to_owned(),
        };
        let words: String = error.to_string().chars().filter(|c| !c.is_control()).take(300).collect();
        Problem::new("bad_bundle", format!("the YAML cannot be read: {words}")).at(place)
    })
}

#[derive(Clone, Copy)]
struct Seed<'a> {
    left: &'a Cell<usize>,
    depth: usize,
}

impl Seed<'_> {
    /// Takes a node's room, or says that there is none left.
    fn node<E: de::Error>(self, text: &str) -> Result<(), E> {
        let left = self.left.get().checked_sub(64 + text.len());
        self.left.set(left.ok_or_else(|| E::custom("it is larger than a bundle is, written out"))?);
        Ok(())
    }

    fn below<E: de::Error>(self) -> Result<Self, E> {
        match self.depth < MAX_DEPTH {
            true => Ok(Seed { depth: self.depth + 1, ..self }),
            false => Err(E::custom("it is nested deeper than a bundle is")),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Node;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Node, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any YAML")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Node, E> {
        self.node(text)?;
        Ok(Node::Text(text.to_owned()))
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Node, E> {
        self.visit_str(if value { "true" } else { "false" })
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Node, E> {
        self.visit_str(&value.to_string())
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Node, E> {
        self.visit_str(&value.to_string())
    }

    fn visit_i128<E: de::Error>(self, value: i128) -> Result<Node, E> {
        self.visit_str(&value.to_string())
    }

    fn visit_u128<E: de::Error>(self, value: u128) -> Result<Node, E> {
        self.visit_str(&value.to_string())
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Node, E> {
        self.visit_str(&value.to_string())
    }

    fn visit_unit<E: de::Error>(self) -> Result<Node, E> {
        self.node("")?;
        Ok(Node::Nothing)
    }

    fn visit_none<E: de::Error>(self) -> Result<Node, E> {
        self.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<Node, D::Error> {
        self.deserialize(from)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, from: D) -> Result<Node, D::Error> {
        self.deserialize(from)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Node, A::Error> {
        self.node("")?;
        let below = self.below()?;
        let mut list = Vec::new();
        while let Some(node) = from.next_element_seed(below)? {
            list.push(node);
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Node, A::Error> {
        self.node("")?;
        let below = self.below()?;
        let mut map = Vec::new();
        while let Some(key) = from.next_key_seed(below)? {
            let Node::Text(key) = key else { return Err(de::Error::custom("a key is no text")) };
            map.push((key, from.next_value_seed(below)?));
        }
        Ok(Node::Map(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_are_texts_and_anchors_are_followed() {
        let text = "a: &x {label: Results, rank: 1}\nb: *x\n1: yes\nday: 2018-11-15\nat: 2017-10-22 18:53:00+00:00\n\
                    a1: 0012\nnone: ~\nday: 2019-01-02\n";
        let Node::Map(map) = parse(text).expect("a tree") else { panic!("a map") };
        let shown: Vec<_> = map.iter().map(|(key, node)| format!("{key}={}", node.shown())).collect();
        let at = "at=2017-10-22 18:53:00+00:00";
        assert_eq!(shown, ["a=2 fields", "b=2 fields", "1=true", at, "a1=0012", "none=", "day=2019-01-02"]);
        assert_eq!(map[0].1, map[1].1);
    }

    #[test]
    fn bombs_are_refused() {
        // Each level nine times the one below: a billion laughs.
        let mut laughs = "a0: &a0 [ha, ha, ha, ha, ha, ha, ha, ha, ha]\n".to_owned();
        for level in 1..12 {
            let below = vec![format!("*a{}", level - 1); 9].join(", ");
            laughs += &format!("a{level}: &a{level} [{below}]\n");
        }
        let long = format!("a: &a {}\nb: [{}]\n", "x".repeat(1 << 19), vec!["*a"; 900].join(", "));
        let deep = "[".repeat(5000);
        let nested = (0..200).map(|level| format!("{}a:\n", " ".repeat(level))).collect::<String>();
        for bomb in [&laughs, &long, &deep, &nested, "a: [", "? [a]\n: b", "a: 1\n---\nb: 2\n"] {
            let started = std::time::Instant::now();
            let problem = parse(bomb).expect_err("refused");
            assert_eq!(problem.code, "bad_bundle", "{problem}");
            assert!(started.elapsed().as_secs() < 5 && problem.message.len() < 400, "{problem}");
        }
    }
}
