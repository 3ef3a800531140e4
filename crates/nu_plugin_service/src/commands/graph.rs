//! `service graph`.

use super::names::completes;
use super::{inputs, selecting};
use crate::error::refusal;
use crate::selector::Selection;
use crate::session::Session;
use crate::table::table;
use crate::{ServicePlugin, drawing};
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{
    Completion, Example, Flag, LabeledError, PipelineData, Signature, Spanned, SyntaxShape, Type, Value,
};
use service_api::{routes, view};

pub(super) struct Graph;

type Draw = fn(&[view::Node]) -> String;

/// How it may be drawn.
const FORMATS: [(&str, Draw); 3] =
    [("tree", drawing::tree), ("mermaid", drawing::mermaid), ("dot", drawing::dot)];

impl PluginCommand for Graph {
    type Plugin = ServicePlugin;

    fn name(&self) -> &'static str {
        "service graph"
    }

    fn signature(&self) -> Signature {
        let format = Flag::new("format")
            .short('f')
            .arg(SyntaxShape::String)
            .desc("Draw it: `tree` for the terminal, `mermaid` or `dot` for documents")
            .completion(Completion::new_list(&["tree", "mermaid", "dot"]));
        let types = inputs().flat_map(|input| [(input.clone(), Type::table()), (input, Type::String)]);
        selecting(self.name(), &Type::table()).param(format).input_output_types(types.collect())
    }

    fn description(&self) -> &'static str {
        "Show which service needs which, and how each is."
    }

    fn extra_description(&self) -> &'static str {
        "Without names: all services; with names: these and everything they need. Only reads: no daemon is started \
         for it. Without one, `state` is `stopped`, or `unknown` where something may run."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec!["dependencies", "tree", "mermaid", "dot", "graphviz", "draw"]
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![
            Example {
                example: "service graph --format tree",
                description: "Draw all services with their states",
                result: None,
            },
            Example {
                example: "service graph | where ($it.dependents | is-empty) | get name",
                description: "What nothing else needs",
                result: None,
            },
            Example {
                example: "service graph web-app --format mermaid | save graph.mmd",
                description: "A picture of one service and all it needs, for a document",
                result: None,
            },
            Example {
                example: "[] | service graph",
                description: "An empty pipe has no graph",
                result: Some(Value::test_list(vec![])),
            },
        ]
    }

    fn run(
        &self,
        plugin: &ServicePlugin,
        engine: &EngineInterface,
        call: &EvaluatedCall,
        input: PipelineData,
    ) -> Result<PipelineData, LabeledError> {
        let draw = call.get_flag::<Spanned<String>>("format")?.map(|format| find(&format)).transpose()?;
        let selection = Selection::read(call, input)?;
        let nodes: Vec<view::Node> = if selection.is_empty() {
            Vec::new()
        } else {
            let session = Session::open(plugin, engine, call, selection.names())?;
            let names = selection.joined();
            let words =
                std::iter::once("graph".into()).chain(selection.names().iter().map(|name| name.item.clone()));
            session.read(move |client| client.get(routes::GRAPH, &[("names", &names)]), words.collect())?
        };
        Ok(match draw {
            Some(draw) => PipelineData::value(Value::string(draw(&nodes), call.head), None),
            None => table(nodes, call.head),
        })
    }

    completes!(All);
}

fn find(format: &Spanned<String>) -> Result<Draw, LabeledError> {
    let found = FORMATS.iter().find(|(name, _)| *name == format.item).map(|(_, draw)| *draw);
    found.ok_or_else(|| {
        let message = format!("cannot draw a graph as `{}`", format.item);
        refusal("bad_request", &message, "not a format", format.span)
            .with_help("`tree`, `mermaid` or `dot`; without `--format` it is a table")
    })
}
