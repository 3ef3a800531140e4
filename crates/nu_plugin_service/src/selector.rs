//! [`Selection`]: the services that a command acts on, from its arguments or from the pipe.

use nu_protocol::{LabeledError, PipelineData, Span, Spanned, Value};
use service_nushell::error::invalid_call;

/// The help for a call in a closure: Nushell pipes the item of a closure into its first command.
pub(crate) const IN_A_CLOSURE: &str = "in a closure, whose item comes through the pipe: `null | service ...`";

/// The services that a command acts on.
#[derive(Debug, PartialEq)]
pub(crate) enum Selection {
    /// Neither names nor a pipe. The meaning depends on the command.
    Unspecified,
    /// Services named as arguments.
    Named(Vec<Spanned<String>>),
    /// Services from the pipe. An empty table selects none, and never means "all".
    Piped(Vec<Spanned<String>>),
}

impl Selection {
    /// Chooses between names and pipe. `known` returns all services; it is called only if names and pipe differ.
    pub(crate) fn choose(
        names: Vec<Spanned<String>>,
        input: PipelineData,
        head: Span,
        known: impl FnOnce() -> Result<Vec<String>, LabeledError>,
    ) -> Result<Self, LabeledError> {
        let piped = match input {
            PipelineData::Empty | PipelineData::Value(Value::Nothing { .. }, _) => None,
            // In `1..9 | each { service status }` Nushell pipes the number into the command, so a number does not count
            // as a selection.
            PipelineData::Value(Value::Int { .. }, _) => None,
            input => Some(input.into_value(head)?),
        };
        let piped = piped.map(|value| rows(value).iter().map(name).collect::<Result<Vec<_>, _>>());
        match (names.first(), piped) {
            (None, None) => Ok(Self::Unspecified),
            (None, Some(piped)) => piped.map(Self::Piped),
            (Some(_), None) => Ok(Self::Named(names)),
            // In `each {|name| service start $name }` Nushell pipes the name into the command as well.
            (Some(_), Some(Ok(piped))) if same(&piped, &names) => Ok(Self::Named(names)),
            // A piped item that cannot be a service is ignored if names are given.
            (Some(_), Some(Err(_))) => Ok(Self::Named(names)),
            // A piped item that is not the name of a service is ignored as well.
            (Some(first), Some(Ok(piped))) => {
                let known = known()?;
                match piped.iter().find(|name| known.contains(&name.item)) {
                    None if !piped.is_empty() => Ok(Self::Named(names)),
                    other => Err(both(first, other)),
                }
            }
        }
    }

    /// The selection of a command that changes services: without names it needs `--all`, which excludes names.
    pub(crate) fn or_all(self, all: Option<Span>, head: Span) -> Result<Self, LabeledError> {
        match (&self, all) {
            (Self::Unspecified, None) => {
                Err(invalid_call("no_names", "no service is named", "which services?", head)
                    .with_help("name services, pipe them in (a number names none), or use `--all`"))
            }
            // The pipe was empty, so no service is selected.
            (Self::Piped(names), Some(_)) if names.is_empty() => Ok(self),
            (Self::Named(_) | Self::Piped(_), Some(flag)) => Err(invalid_call(
                "ambiguous_input",
                "cannot take both names and `--all`",
                "names are given as well",
                flag,
            )
            .with_help("use only one of the two")),
            _ => Ok(self),
        }
    }

    /// The names, if there are any.
    pub(crate) fn names(&self) -> &[Spanned<String>] {
        match self {
            Self::Unspecified => &[],
            Self::Named(names) | Self::Piped(names) => names,
        }
    }

    /// The names in the form of the API; empty for all services.
    pub(crate) fn joined(&self) -> String {
        let names: Vec<_> = self.names().iter().map(|name| name.item.as_str()).collect();
        names.join(",")
    }

    /// Whether the pipe was empty, so that there is nothing to do.
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Self::Piped(names) if names.is_empty())
    }
}

/// The error for names and a pipe that differ.
fn both(named: &Spanned<String>, piped: Option<&Spanned<String>>) -> LabeledError {
    let piped = piped.map_or("nothing".to_owned(), |name| format!("`{}`", name.item));
    invalid_call(
        "ambiguous_input",
        "cannot take names both as arguments and from the pipe",
        &format!("given here, and {piped} is piped in"),
        named.span,
    )
    .with_help(format!("use only one of the two; {IN_A_CLOSURE}"))
}

fn rows(value: Value) -> Vec<Value> {
    match value {
        Value::List { vals, .. } => vals.into_owned(),
        value => vec![value],
    }
}

fn same(one: &[Spanned<String>], other: &[Spanned<String>]) -> bool {
    one.iter().map(|name| &name.item).eq(other.iter().map(|name| &name.item))
}

/// The name in a piped row, with the span of the row.
fn name(row: &Value) -> Result<Spanned<String>, LabeledError> {
    let span = row.span();
    let name = match row {
        // Some rows, such as rows of logs, have the name in the column `service`.
        Value::Record { val, .. } => val.get("name").or_else(|| val.get("service")),
        Value::Error { error, .. } => return Err(LabeledError::from((**error).clone())),
        row => Some(row),
    };
    match name {
        Some(Value::String { val, .. }) => Ok(Spanned { item: val.clone(), span }),
        _ => {
            let label = match row {
                Value::Record { .. } => "no name in this row".to_owned(),
                other => format!("type {} names no service", other.get_type()),
            };
            Err(invalid_call("bad_row", "cannot tell which service is meant", &label, span)
                .with_help(format!("pipe in strings, or rows with a `name` column; {IN_A_CLOSURE}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nu_plugin::EvaluatedCall;
    use nu_protocol::record;

    fn read(names: &[&str], input: Option<Value>) -> Result<Selection, LabeledError> {
        let call = names.iter().fold(EvaluatedCall::new(Span::test_data()), |call, name| {
            call.with_positional(Value::test_string(*name))
        });
        let input = input.map_or(PipelineData::Empty, |value| PipelineData::value(value, None));
        let known = || Ok(vec!["a".to_owned(), "b".to_owned()]);
        Selection::choose(call.rest(0)?, input, call.head, known)
    }

    fn names(selection: &Selection) -> Vec<&str> {
        selection.names().iter().map(|name| name.item.as_str()).collect()
    }

    fn code(result: Result<Selection, LabeledError>) -> String {
        result.unwrap_err().code.unwrap()
    }

    #[test]
    fn names_come_from_arguments_strings_lists_and_rows() {
        assert_eq!(names(&read(&["a", "b"], None).unwrap()), ["a", "b"]);
        assert_eq!(names(&read(&[], Some(Value::test_string("a"))).unwrap()), ["a"]);
        let row = |name: &str| Value::test_record(record! {"name" => Value::test_string(name)});
        assert_eq!(names(&read(&[], Some(row("a"))).unwrap()), ["a"]);
        let mixed = Value::test_list(vec![row("b"), Value::test_string("a")]);
        assert_eq!(names(&read(&[], Some(mixed)).unwrap()), ["b", "a"]);
    }

    #[test]
    fn an_empty_pipe_is_not_the_same_as_no_pipe() {
        let empty = read(&[], Some(Value::test_list(vec![]))).unwrap();
        assert!(empty.is_empty());
        assert!(empty.or_all(None, Span::test_data()).unwrap().is_empty());
        assert_eq!(read(&[], None).unwrap(), Selection::Unspecified);
        assert_eq!(read(&[], Some(Value::test_nothing())).unwrap(), Selection::Unspecified);
        assert_eq!(code(Selection::Unspecified.or_all(None, Span::test_data())), "service::no_names");
    }

    #[test]
    fn two_sources_that_differ_are_refused() {
        assert_eq!(names(&read(&["a"], Some(Value::test_string("a"))).unwrap()), ["a"]);
        assert_eq!(code(read(&["a"], Some(Value::test_string("b")))), "service::ambiguous_input");
        assert_eq!(code(read(&["a"], Some(Value::test_list(vec![])))), "service::ambiguous_input");
        let none = Value::test_string("ready");
        assert_eq!(names(&read(&["a"], Some(none)).unwrap()), ["a"], "the item is not a service");
        let all = Some(Span::test_data());
        assert_eq!(
            code(read(&["a"], None).unwrap().or_all(all, Span::test_data())),
            "service::ambiguous_input"
        );
    }

    #[test]
    fn a_row_without_a_name_is_marked_itself() {
        let span = Span::new(7, 9);
        let row = Value::record(record! {"nam" => Value::test_string("a")}, span);
        let error = read(&[], Some(Value::test_list(vec![row]))).unwrap_err();
        assert_eq!(error.code.as_deref(), Some("service::bad_row"));
        assert_eq!(error.labels[0].span, span);
    }
}
