//! What every tool of the table keeps, whatever it does.

use hayward_api::Tier;
use serde_json::{Value, json};

use crate::rig::{Rig, text};

#[tokio::test]
async fn tools_are_listed_in_the_order_of_the_seed() {
    let rig = Rig::new();
    let tools = rig.toolset.tools.iter();
    let names: Vec<_> = tools.map(|tool| tool.descriptor().name.to_string()).collect();
    let seed = [
        "bash_execute",
        "read_file",
        "write_file",
        "edit_file",
        "glob",
        "prepare_upload",
        "prepare_download",
        "grep",
    ];
    assert_eq!(names[..8], seed);
    assert_eq!(&*rig.toolset.name, "host");
}

#[tokio::test]
async fn every_tool_says_what_it_is() {
    let rig = Rig::new();
    for tool in &rig.toolset.tools {
        let descriptor = tool.descriptor();
        let definition: Value = descriptor.definition().view().unwrap();
        let name = descriptor.name.as_str();
        assert!((20..1024).contains(&descriptor.description.len()), "{name}");
        let input = &definition["inputSchema"];
        assert_eq!(
            (&input["type"], &input["additionalProperties"]),
            (&json!("object"), &json!(false)),
            "{name}"
        );
        for schema in [input, &definition["outputSchema"]] {
            assert_eq!(schema["type"], "object", "{name}");
            for (property, value) in schema["properties"].as_object().unwrap() {
                let description = value["description"].as_str().unwrap_or_default();
                assert!(!description.is_empty(), "{name}.{property} has no description");
            }
        }
        let hints = descriptor.annotations;
        assert_eq!(hints.read_only, descriptor.tier == Tier::Read, "{name}");
        assert!(!(hints.read_only && hints.destructive), "{name}");
        assert!(!descriptor.timeout.is_zero(), "{name}");
    }
}

#[tokio::test]
async fn every_tool_refuses_missing_unknown_and_mistyped_arguments() {
    let rig = Rig::new();
    for tool in &rig.toolset.tools {
        let name = tool.descriptor().name.as_str();
        let schema: Value = tool.descriptor().input_schema.view().unwrap();
        let required: Vec<&str> =
            schema["required"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        let good: Value = required.iter().map(|name| (*name, json!("/nowhere"))).collect();
        let mut unknown = good.clone();
        unknown["zzz"] = json!(1);
        for (arguments, expect) in [
            (json!({}), "is a required property"),
            (unknown, "'zzz' was unexpected"),
            (required.iter().map(|name| (*name, json!(7))).collect(), "is not of type 'string'"),
            (json!([]), "arguments must be an object"),
        ] {
            let answer = rig.call(name, arguments).await;
            let text = answer.text.as_str().unwrap_or_default().to_owned();
            assert!(answer.is_error && text.starts_with("Input validation error: "), "{name}: {answer:?}");
            assert!(text.contains(expect), "{name}: {text}");
        }
    }
}

#[tokio::test]
async fn every_file_tool_refuses_paths_that_no_kernel_takes() {
    let rig = Rig::new();
    let long = format!("/{}", "x/".repeat(2048));
    let long_name = format!("/{}", "x".repeat(256));
    for path in ["/a\0b", "relative", &long, &long_name] {
        for (tool, arguments) in [
            ("read_file", json!({"file_path": path})),
            ("write_file", json!({"file_path": path, "content": ""})),
            ("edit_file", json!({"file_path": path, "old_string": "a", "new_string": "b"})),
            ("glob", json!({"pattern": "*", "path": path})),
            ("grep", json!({"pattern": "x", "path": path})),
            ("bash_execute", json!({"command": "true", "working_dir": path})),
            ("prepare_upload", json!({"dest_path": path})),
            ("prepare_download", json!({"src_path": path})),
        ] {
            assert_eq!(rig.code(tool, arguments).await, "InvalidPath", "{tool} {path:?}");
        }
    }
}

#[tokio::test]
async fn every_tool_takes_a_path_with_a_line_break() {
    let rig = Rig::new();
    let path = rig.work("a\nb/c\nd.txt");
    let directory = rig.work("a\nb");
    for (tool, arguments, member, expect) in [
        ("write_file", json!({"file_path": path, "content": "alpha\n"}), "bytes_written", json!(6)),
        (
            "edit_file",
            json!({"file_path": path, "old_string": "alpha", "new_string": "beta"}),
            "replacements",
            json!(1),
        ),
        ("read_file", json!({"file_path": path}), "content", json!("   1\tbeta")),
        ("glob", json!({"pattern": "*\n*", "path": directory}), "files", json!([path])),
        ("grep", json!({"pattern": "beta", "path": path}), "results", json!("1:beta")),
        (
            "grep",
            json!({"pattern": "beta", "path": directory, "output_mode": "files"}),
            "results",
            json!(path),
        ),
        ("bash_execute", json!({"command": "cat *", "working_dir": directory}), "stdout", json!("beta\n")),
    ] {
        assert_eq!(rig.ok(tool, arguments).await[member], expect, "{tool}");
    }
}

#[tokio::test]
async fn descriptions_and_schemas_are_as_a_model_reads_them() {
    let rig = Rig::new();
    let definitions: Vec<Value> =
        rig.toolset.tools.iter().map(|tool| tool.descriptor().definition().view().unwrap()).collect();
    let grep = definitions.iter().find(|definition| definition["name"] == "grep").unwrap();
    let mode = &grep["inputSchema"]["properties"]["output_mode"];
    assert_eq!((&mode["type"], &mode["enum"]), (&json!("string"), &json!(["content", "files", "count"])));
    let all = serde_json::to_string(&definitions).unwrap();
    for odd in ["$ref", "$defs", "\"anyOf\"", "\"null\"", "\"format\""] {
        assert!(!all.contains(odd), "{odd}");
    }
}

#[tokio::test]
async fn results_are_spelt_as_the_seed_spells_them() {
    let rig = Rig::new();
    let path = rig.file("x.txt", "a\nb\n");
    let shown = text(&path);
    for (tool, arguments, expect) in [
        (
            "bash_execute",
            json!({"command": "echo hi; echo err >&2; exit 3"}),
            r#"{"stdout": "hi\n", "stderr": "err\n", "exit_code": 3, "timed_out": false}"#.to_owned(),
        ),
        (
            "read_file",
            json!({"file_path": path, "limit": 1}),
            r#"{"content": "   1\ta", "total_lines": 2, "truncated": true}"#.to_owned(),
        ),
        (
            "write_file",
            json!({"file_path": path, "content": "a\nb\n"}),
            r#"{"success": true, "bytes_written": 4}"#.to_owned(),
        ),
        (
            "edit_file",
            json!({"file_path": path, "old_string": "a", "new_string": "z"}),
            r#"{"success": true, "replacements": 1}"#.to_owned(),
        ),
        (
            "glob",
            json!({"pattern": "**/*.txt", "path": rig.work("")}),
            format!(r#"{{"files": ["{shown}"], "count": 1, "truncated": false}}"#),
        ),
        (
            "grep",
            json!({"pattern": "z", "path": rig.work("")}),
            format!(r#"{{"results": "{shown}:1:z", "match_count": 1}}"#),
        ),
    ] {
        assert_eq!(rig.call(tool, arguments).await.raw, expect, "{tool}");
    }
}
