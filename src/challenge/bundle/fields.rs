//! The fields of one map of a bundle. What is taken out is accounted for by whoever takes it; what is left over is said to be
//! ignored, so that no field goes unmentioned.

use super::{report::Report, yaml::Node};

pub struct Fields {
    /// Where the map is, as `phases[0]`; empty at the top.
    path: String,
    left: Vec<(String, Node)>,
}

impl Fields {
    /// Of a node that should be a map; of any other there are none.
    pub fn open(path: impl Into<String>, node: Node) -> Fields {
        let left = match node {
            Node::Map(map) => map,
            _ => Vec::new(),
        };
        Fields { path: path.into(), left }
    }

    /// The name of a field in the report.
    pub fn name(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    pub fn has(&self, key: &str) -> bool {
        self.left.iter().any(|(name, _)| name == key)
    }

    /// A field that says something.
    pub fn take(&mut self, key: &str) -> Option<Node> {
        let place = self.left.iter().position(|(name, _)| name == key)?;
        Some(self.left.remove(place).1).filter(|node| *node != Node::Nothing)
    }

    /// A field that is a text or a number. One of another kind stays, and is ignored.
    pub fn text(&mut self, key: &str) -> Option<String> {
        let place = self.left.iter().position(|(name, node)| name == key && node.text().is_some())?;
        match self.left.remove(place).1 {
            Node::Text(text) => Some(text.trim().to_owned()).filter(|text| !text.is_empty()),
            _ => None,
        }
    }

    /// Yes or no, as YAML writes it.
    pub fn flag(&mut self, key: &str) -> Option<bool> {
        self.text(key).map(|text| truth(&text))
    }

    /// A list, or the values of a map in their order: with each the key or place that it had. One of another kind stays, and
    /// is ignored.
    pub fn list(&mut self, key: &str) -> Vec<(String, Node)> {
        let several = |node: &Node| matches!(node, Node::List(_) | Node::Map(_));
        let Some(place) = self.left.iter().position(|(name, node)| name == key && several(node)) else {
            return Vec::new();
        };
        match self.left.remove(place).1 {
            Node::List(list) => list.into_iter().enumerate().map(|(i, node)| (i.to_string(), node)).collect(),
            Node::Map(map) => map,
            _ => Vec::new(),
        }
    }

    /// Says of these fields, where they are, why they are ignored.
    pub fn ignore(&mut self, keys: &[&str], why: &str, report: &mut Report) {
        for key in keys {
            if let Some(node) = self.take(key) {
                report.ignored(&self.name(key), &node.shown(), why);
            }
        }
    }

    /// Says of all that nobody took that it is ignored.
    pub fn rest(self, report: &mut Report) {
        for (key, node) in &self.left {
            if *node != Node::Nothing {
                report.ignored(&self.name(key), &node.shown(), "there is nothing like it here");
            }
        }
    }
}

fn truth(text: &str) -> bool {
    matches!(text.trim().to_ascii_lowercase().as_str(), "true" | "yes" | "on" | "1" | "y")
}
