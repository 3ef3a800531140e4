//! The service names of a compose file, and which needs which. Not a YAML parser: it reads the block style in which such
//! files are written, and misses what is written otherwise; what it finds is only suggested.

/// A service of a compose file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Service {
    pub(super) name: String,
    pub(super) needs: Vec<String>,
}

/// Every service below the top level's `services:`.
pub(super) fn services(text: &str) -> Vec<Service> {
    let mut services: Vec<Service> = Vec::new();
    let (mut inside, mut level) = (false, None);
    // The indent of a `depends_on:` whose list or table is being read, and that of its entries.
    let mut needs: Option<(usize, Option<usize>)> = None;
    for line in text.lines() {
        let content = line.split(" #").next().unwrap_or_default().trim();
        if content.is_empty() || content.starts_with('#') {
            continue;
        }
        let indent = line.len() - line.trim_start().len();
        if indent == 0 {
            inside = content == "services:";
            continue;
        }
        let name_level = *level.get_or_insert(indent);
        if !inside || indent < name_level {
            continue;
        }
        if indent == name_level {
            needs = None;
            let name = content.strip_suffix(':').map(unquote);
            services.extend(name.map(|name| Service { name, needs: Vec::new() }));
            continue;
        }
        let Some(service) = services.last_mut() else { continue };
        if let Some((opened, entries)) = &mut needs {
            let item = content.strip_prefix("- ");
            // A list may stand at the indent of its key.
            if indent > *opened || (indent == *opened && item.is_some()) {
                if indent == *entries.get_or_insert(indent) {
                    service.needs.extend(item.or_else(|| content.strip_suffix(':')).map(unquote));
                }
                continue;
            }
            needs = None;
        }
        if let Some(rest) = content.strip_prefix("depends_on:") {
            let inline = rest.trim().trim_start_matches('[').trim_end_matches(']');
            service.needs.extend(inline.split(',').map(unquote).filter(|name| !name.is_empty()));
            needs = inline.is_empty().then_some((indent, None));
        }
    }
    services
}

fn unquote(text: &str) -> String {
    text.trim().trim_matches(['"', '\'']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_are_found_with_what_they_need_however_that_is_written() {
        let text = "\
version: '3'
services:
  # the database
  db:
    image: postgres   # of today
  cache:
    image: redis
    depends_on: [db, 'dns']
  web:
    build: .
    depends_on:
      db:
        condition: service_healthy
      cache:
        condition: service_started
    ports:
      - 80:80
  \"worker\":
    depends_on:
    - db
    command: [run]
volumes:
  data:
";
        let found = services(text);
        let found: Vec<_> =
            found.iter().map(|service| (service.name.as_str(), service.needs.join(" "))).collect();
        let expected = [("db", ""), ("cache", "db dns"), ("web", "db cache"), ("worker", "db")];
        assert_eq!(found, expected.map(|(name, needs)| (name, needs.to_owned())));
    }
}
