//! `service graph`.

use super::completion::completes;
use super::query::Query;
use super::signature::{inputs, selecting};
use crate::plugin::ServicePlugin;
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{
    Completion, Example, Flag, LabeledError, PipelineData, Signature, Spanned, SyntaxShape, Type, Value,
};
use service_api::{routes, view};
use service_nushell::table::table;

pub(super) struct GraphCommand;

impl PluginCommand for GraphCommand {
    type Plugin = ServicePlugin;

    fn name(&self) -> &'static str {
        "service graph"
    }

    fn signature(&self) -> Signature {
        let format = Flag::new("format")
            .short('f')
            .arg(SyntaxShape::String)
            .desc("Draw the graph: `tree` for the terminal, `mermaid` or `dot` for documents")
            .completion(Completion::new_list(&["tree", "mermaid", "dot"]));
        let types = inputs().flat_map(|input| [(input.clone(), Type::table()), (input, Type::String)]);
        selecting(self.name(), &Type::table()).param(format).input_output_types(types.collect())
    }

    fn description(&self) -> &'static str {
        "Show the dependency graph with the state of each service."
    }

    fn extra_description(&self) -> &'static str {
        "Without names the rows are all services; with names they are the named services and all their \
         dependencies. The command starts no daemon. Without a daemon `state` is `stopped`, or `unknown` if \
         the service may run."
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
                description: "Show services without dependents",
                result: None,
            },
            Example {
                example: "service graph web-app --format mermaid | save graph.mmd",
                description: "Draw one service and all its dependencies, for a document",
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
        let format = call.get_flag::<Spanned<String>>("format")?;
        let reading = Query::open(plugin, engine, call, input)?;
        match (reading, format) {
            (None, None) => Ok(table::<view::Node>(Vec::new(), call.head)),
            (None, Some(_)) => Ok(PipelineData::value(Value::string("", call.head), None)),
            (Some(reading), None) => {
                let nodes: Vec<view::Node> = reading.fetch(routes::GRAPH, Vec::new())?;
                Ok(table(nodes, call.head))
            }
            (Some(mut reading), Some(format)) => {
                reading.mark(format.clone());
                let drawn: String = reading.fetch(routes::GRAPH, vec![("format", format.item)])?;
                Ok(PipelineData::value(Value::string(drawn, call.head), None))
            }
        }
    }

    completes!(All);
}
