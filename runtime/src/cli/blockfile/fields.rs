//! Typed reading of JSON objects, with errors that name the object and the field.

use alloy_primitives::Bloom;
use revm::primitives::{Address, Bytes, FixedBytes, U256, hex};
use serde_json::{Map, Value};

use super::error::{FieldError, Place, Reason};

/// How much of a wrong value a message repeats.
const EXCERPT: usize = 40;

/// A JSON object whose fields are read one by one.
#[derive(Clone, Debug)]
pub(super) struct Fields<'a> {
    object: &'a Map<String, Value>,
    place: Place,
    /// The way from the place to the object, such as `accessList[2].`.
    prefix: String,
}

impl<'a> Fields<'a> {
    /// The object `value`, which `field` of `place` holds.
    pub(super) fn new(value: &'a Value, place: Place, field: &str) -> Result<Self, FieldError> {
        let error = |reason| FieldError { place, field: field.to_owned(), reason };
        let object = value.as_object().ok_or_else(|| error(wrong_type("an object", value)))?;
        Ok(Self { object, place, prefix: String::new() })
    }

    /// An error about a field of this object.
    pub(super) fn error(&self, field: &str, reason: Reason) -> FieldError {
        FieldError { place: self.place, field: format!("{}{field}", self.prefix), reason }
    }

    /// The field's JSON; `null` counts as absent.
    pub(super) fn json(&self, field: &str) -> Option<&'a Value> {
        self.object.get(field).filter(|value| !value.is_null())
    }

    /// Whether the field is there, be it `null`.
    pub(super) fn has(&self, field: &str) -> bool {
        self.object.contains_key(field)
    }

    /// A field that must be there.
    pub(super) fn get<T: FromHex>(&self, field: &str) -> Result<T, FieldError> {
        self.optional(field)?.ok_or_else(|| self.error(field, Reason::Missing))
    }

    /// A field that may be absent.
    pub(super) fn optional<T: FromHex>(&self, field: &str) -> Result<Option<T>, FieldError> {
        self.json(field).map(|value| read(value).map_err(|reason| self.error(field, reason))).transpose()
    }

    /// A list of values.
    pub(super) fn list<T: FromHex>(&self, field: &str) -> Result<Vec<T>, FieldError> {
        let item = |(i, value)| read(value).map_err(|reason| self.error(&format!("{field}[{i}]"), reason));
        self.array(field)?.iter().enumerate().map(item).collect()
    }

    /// A list of objects.
    pub(super) fn objects(&self, field: &str) -> Result<Vec<Self>, FieldError> {
        let item = |(i, value): (usize, &'a Value)| {
            let name = format!("{field}[{i}]");
            let object =
                value.as_object().ok_or_else(|| self.error(&name, wrong_type("an object", value)))?;
            Ok(Self { object, place: self.place, prefix: format!("{}{name}.", self.prefix) })
        };
        self.array(field)?.iter().enumerate().map(item).collect()
    }

    /// A field that must be a list.
    pub(super) fn array(&self, field: &str) -> Result<&'a [Value], FieldError> {
        let value = self.json(field).ok_or_else(|| self.error(field, Reason::Missing))?;
        let array = value.as_array().ok_or_else(|| self.error(field, wrong_type("a list", value)))?;
        Ok(array)
    }

    /// An object whose keys are data; absent counts as empty.
    pub(super) fn pairs<K: FromHex, V: FromHex>(&self, field: &str) -> Result<Vec<(K, V)>, FieldError> {
        let Some(value) = self.json(field) else { return Ok(Vec::new()) };
        let object = value.as_object().ok_or_else(|| self.error(field, wrong_type("an object", value)))?;
        let pair = |(key, value): (&'a String, &'a Value)| {
            let error = |reason| self.error(&format!("{field}[{:?}]", excerpt(key)), reason);
            Ok((K::from_hex(key).map_err(error)?, read(value).map_err(error)?))
        };
        object.iter().map(pair).collect()
    }
}

fn read<T: FromHex>(value: &Value) -> Result<T, Reason> {
    let text = value.as_str().ok_or_else(|| wrong_type("a string of hex digits", value))?;
    T::from_hex(text)
}

fn wrong_type(expected: &'static str, value: &Value) -> Reason {
    let found = match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    Reason::Type { expected, found }
}

fn excerpt(text: &str) -> String {
    let mut characters = text.chars();
    let start: String = characters.by_ref().take(EXCERPT).collect();
    if characters.next().is_none() { start } else { format!("{start}...") }
}

/// What a block file writes as a hex string.
pub(super) trait FromHex: Sized {
    /// Reads the string.
    fn from_hex(text: &str) -> Result<Self, Reason>;
}

fn digits(text: &str) -> Result<&str, Reason> {
    text.strip_prefix("0x")
        .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
        .ok_or_else(|| Reason::Hex(excerpt(text)))
}

impl FromHex for U256 {
    fn from_hex(text: &str) -> Result<Self, Reason> {
        let digits = digits(text)?;
        if digits.is_empty() {
            return Err(Reason::Hex(excerpt(text)));
        }
        Self::from_str_radix(digits, 16).map_err(|_| Reason::Overflow { value: excerpt(text), bits: 256 })
    }
}

impl FromHex for u128 {
    fn from_hex(text: &str) -> Result<Self, Reason> {
        let overflow = |_| Reason::Overflow { value: excerpt(text), bits: 128 };
        Self::try_from(U256::from_hex(text)?).map_err(overflow)
    }
}

impl FromHex for u64 {
    fn from_hex(text: &str) -> Result<Self, Reason> {
        let overflow = |_| Reason::Overflow { value: excerpt(text), bits: 64 };
        Self::try_from(U256::from_hex(text)?).map_err(overflow)
    }
}

impl FromHex for Bytes {
    fn from_hex(text: &str) -> Result<Self, Reason> {
        let digits = digits(text)?;
        // Only their number can be wrong by now.
        hex::decode(digits).map(Self::from).map_err(|_| Reason::OddHex(excerpt(text)))
    }
}

impl<const N: usize> FromHex for FixedBytes<N> {
    fn from_hex(text: &str) -> Result<Self, Reason> {
        let bytes = Bytes::from_hex(text)?;
        Self::try_from(bytes.as_ref()).map_err(|_| Reason::Length { expected: N, found: bytes.len() })
    }
}

impl FromHex for Address {
    fn from_hex(text: &str) -> Result<Self, Reason> {
        FixedBytes::from_hex(text).map(Self::from)
    }
}

impl FromHex for bool {
    fn from_hex(text: &str) -> Result<Self, Reason> {
        match u64::from_hex(text)? {
            parity @ (0 | 1) => Ok(parity == 1),
            _ => Err(Reason::Overflow { value: excerpt(text), bits: 1 }),
        }
    }
}

impl FromHex for Bloom {
    fn from_hex(text: &str) -> Result<Self, Reason> {
        FixedBytes::from_hex(text).map(Self::from)
    }
}
