//! A JSON object of the protocol: mostly strings, read leniently.

use std::borrow::Cow;

use serde_json::{Map, Value};

/// Header or body of a message: named values, all of them text on the wire.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Fields(Map<String, Value>);

impl Fields {
    /// No fields.
    pub fn new() -> Self {
        Self::default()
    }

    pub(crate) fn from_map(map: Map<String, Value>) -> Self {
        Self(map)
    }

    pub(crate) fn as_map(&self) -> &Map<String, Value> {
        &self.0
    }

    /// A scalar as text; numbers and booleans are written out. Objects, lists and null are none.
    pub fn text(&self, key: &str) -> Option<Cow<'_, str>> {
        match self.0.get(key)? {
            Value::String(text) => Some(Cow::Borrowed(text)),
            Value::Number(number) => Some(Cow::Owned(number.to_string())),
            Value::Bool(flag) => Some(Cow::Owned(flag.to_string())),
            _ => None,
        }
    }

    /// A scalar as owned text, `None` when missing or empty.
    pub fn non_empty(&self, key: &str) -> Option<String> {
        self.text(key)
            .map(Cow::into_owned)
            .filter(|t| !t.is_empty())
    }

    /// A scalar as owned text, empty when missing.
    pub fn text_or_empty(&self, key: &str) -> String {
        self.text(key).map(Cow::into_owned).unwrap_or_default()
    }

    /// A scalar as a number, from digits or from a JSON number.
    pub fn number<T: std::str::FromStr>(&self, key: &str) -> Option<T> {
        self.text(key)?.trim().parse().ok()
    }

    /// The objects of a list; what is no object is left out.
    pub fn list(&self, key: &str) -> Vec<Fields> {
        let Some(Value::Array(items)) = self.0.get(key) else {
            return Vec::new();
        };
        items
            .iter()
            .filter_map(|item| item.as_object().cloned().map(Fields))
            .collect()
    }

    /// An object.
    pub fn object(&self, key: &str) -> Option<Fields> {
        self.0.get(key)?.as_object().cloned().map(Self)
    }

    /// As a JSON object in one line.
    pub fn to_json(&self) -> String {
        // A map of values always has a text; keys are strings.
        serde_json::to_string(&self.0).unwrap_or_default()
    }

    /// Whether a value of this name is there, empty or not.
    pub fn contains(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// Sets a text.
    pub fn set(&mut self, key: &str, value: impl Into<String>) -> &mut Self {
        self.0.insert(key.to_owned(), Value::String(value.into()));
        self
    }

    /// Sets a text if there is one.
    pub fn set_some(&mut self, key: &str, value: Option<impl Into<String>>) -> &mut Self {
        if let Some(value) = value {
            self.set(key, value);
        }
        self
    }

    /// Sets a number, written as text like all scalars of the protocol.
    pub fn set_number(&mut self, key: &str, value: impl Into<u64>) -> &mut Self {
        self.set(key, value.into().to_string())
    }

    /// Sets a JSON integer. Two of the original's answers have them.
    pub fn set_integer(&mut self, key: &str, value: u64) -> &mut Self {
        self.0.insert(key.to_owned(), Value::from(value));
        self
    }

    /// Sets an object. An empty one is left out.
    pub fn set_object(&mut self, key: &str, object: Fields) -> &mut Self {
        if !object.0.is_empty() {
            self.0.insert(key.to_owned(), Value::Object(object.0));
        }
        self
    }

    /// Sets a list of objects. The protocol leaves an empty list out, and so does this.
    pub fn set_list(&mut self, key: &str, items: Vec<Fields>) -> &mut Self {
        if !items.is_empty() {
            let items = items.into_iter().map(|f| Value::Object(f.0)).collect();
            self.0.insert(key.to_owned(), Value::Array(items));
        }
        self
    }
}
