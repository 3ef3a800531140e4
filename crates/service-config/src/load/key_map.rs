//! [`KeyMap`]: the span of each key of a file.

use std::cmp::Reverse;
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The keys of a file. Without keys if the file is not TOML.
pub(super) struct KeyMap<'t>(Option<Spanned<DeTable<'t>>>);

impl<'t> KeyMap<'t> {
    /// Reads the keys.
    pub(super) fn parse(text: &'t str) -> Self {
        Self(DeTable::parse(text).ok())
    }

    /// An index from spans to key paths, for many lookups.
    pub(super) fn key_paths(&self) -> KeyPaths<'_> {
        let mut key_paths = KeyPaths::default();
        if let Some(root) = &self.0 {
            key_paths.table(root.get_ref(), None);
        }
        key_paths.sort();
        key_paths
    }

    /// The span of the value of a key.
    pub(super) fn value(&self, path: &[&str]) -> Option<Range<usize>> {
        let (last, tables) = path.split_last()?;
        let mut table = self.0.as_ref()?.get_ref();
        for key in tables {
            table = table.get(*key)?.get_ref().as_table()?;
        }
        table.get(*last).map(Spanned::span)
    }

    /// The span of the name of a service.
    pub(super) fn name(&self, service: &str) -> Option<Range<usize>> {
        let services = self.0.as_ref()?.get_ref().get("services")?.get_ref().as_table()?;
        services.get_key_value(service).map(|(key, _)| key.span())
    }

    /// The names of all services, including services with errors.
    pub(super) fn services(&self) -> Vec<String> {
        let root = self.0.as_ref().map(Spanned::get_ref);
        let services = root.and_then(|root| root.get("services")?.get_ref().as_table());
        services.into_iter().flatten().map(|(key, _)| key.get_ref().to_string()).collect()
    }
}

/// The path of keys that leads to each span of a file.
#[derive(Default)]
pub(super) struct KeyPaths<'m> {
    /// Each key, with the index of its parent in [`KeyPaths::keys`].
    keys: Vec<(&'m str, Option<usize>)>,
    /// The spans of keys and values in order, an outer span before its inner ones; each with the index of its key and
    /// with the index of the nearest span that encloses it.
    spans: Vec<(Range<usize>, usize, Option<usize>)>,
}

impl<'m> KeyPaths<'m> {
    fn table(&mut self, table: &'m DeTable<'_>, above: Option<usize>) {
        for (key, value) in table {
            let nth = self.keys.len();
            self.keys.push((key.get_ref(), above));
            self.spans.push((key.span(), nth, None));
            self.value(value, nth);
        }
    }

    /// Visits every value, because the span of a table with a header does not enclose its content.
    fn value(&mut self, value: &'m Spanned<DeValue<'_>>, key: usize) {
        self.spans.push((value.span(), key, None));
        match value.get_ref() {
            DeValue::Table(table) => self.table(table, Some(key)),
            DeValue::Array(values) => values.iter().for_each(|value| self.value(value, key)),
            _ => {}
        }
    }

    fn sort(&mut self) {
        self.spans.sort_by_key(|(span, key, _)| (span.start, Reverse(span.end), *key));
        let mut around: Vec<usize> = Vec::new();
        for nth in 0..self.spans.len() {
            let inner = self.spans[nth].0.clone();
            while around.last().is_some_and(|outer| !encloses(&self.spans[*outer].0, &inner)) {
                around.pop();
            }
            self.spans[nth].2 = around.last().copied();
            around.push(nth);
        }
    }

    /// The keys that lead to this span.
    pub(super) fn path(&self, at: &Range<usize>) -> Vec<String> {
        let mut found = self.spans.partition_point(|(span, ..)| span.start <= at.start).checked_sub(1);
        while let Some(nth) = found.filter(|nth| !encloses(&self.spans[*nth].0, at)) {
            found = self.spans[nth].2;
        }
        let mut key = found.map(|nth| self.spans[nth].1);
        let mut path = Vec::new();
        while let Some((name, above)) = key.map(|key| self.keys[key]) {
            path.push(name.to_owned());
            key = above;
        }
        path.reverse();
        path
    }
}

fn encloses(outer: &Range<usize>, inner: &Range<usize>) -> bool {
    outer.start <= inner.start && inner.end <= outer.end
}

#[cfg(test)]
mod tests {
    use super::KeyMap;

    #[test]
    fn a_place_has_the_keys_that_lead_to_it() {
        let text = "[services.web]\nenv = { A = '1' }\ndependencies = ['a', { name = 'b' }]\n[services.web.health]\ninterval = '1s'\n";
        let map = KeyMap::parse(text);
        let path = |word: &str| {
            let start = text.find(word).unwrap();
            map.key_paths().path(&(start..start + word.len())).join(".")
        };
        assert_eq!(path("web"), "services.web");
        assert_eq!(path("'1'"), "services.web.env.A");
        assert_eq!(path("'a'"), "services.web.dependencies");
        assert_eq!(path("'b'"), "services.web.dependencies.name");
        assert_eq!(path("interval"), "services.web.health.interval");
        assert_eq!(map.value(&["services", "web", "health", "interval"]).map(|at| &text[at]), Some("'1s'"));
        assert_eq!(map.services(), ["web"]);
    }
}
