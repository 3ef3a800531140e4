//! The common parts of the commands' signatures.

use nu_protocol::{Category, Signature, SyntaxShape, Type};

/// The signature of a command about one project.
pub(super) fn signature(name: &str) -> Signature {
    Signature::build(name).category(category()).named(
        "config",
        SyntaxShape::Filepath,
        "The services.toml to use (default: $env.SERVICES_CONFIG, else the nearest one upward)",
        Some('c'),
    )
}

/// The signature of a command about services that are named or piped in.
pub(super) fn selecting(name: &str, output: &Type) -> Signature {
    signature(name)
        .rest("names", SyntaxShape::String, "The services; or pipe in names, or rows with a `name` column")
        .input_output_types(inputs().map(|input| (input, output.clone())).collect())
}

/// The input types for services. `any` is accepted too, because a call inside a closure gets the closure's `$in` as its
/// input.
pub(super) fn inputs() -> impl Iterator<Item = Type> {
    let named = [Type::Nothing, Type::String, Type::list(Type::String), Type::record(), Type::table()];
    named.into_iter().chain([Type::Any])
}

/// The signature of a command about the daemon of one project, or of the projects in piped rows of `service projects`.
pub(super) fn about_daemon(name: &str) -> Signature {
    signature(name).input_output_types(vec![
        (Type::Nothing, Type::record()),
        (Type::record(), Type::record()),
        (Type::table(), Type::table()),
        (Type::Any, Type::Any),
    ])
}

pub(super) fn category() -> Category {
    Category::Custom("service".into())
}
