# The recipes of a document, as tests: the code blocks that begin with "```nu test", and hidden preparations in comments of the
# page: `<!-- test ... -->`.

# One test per section with such blocks; its name is the heading.
export def main [file: path]: nothing -> table<file: string, name: string, line: string> {
    open --raw $file | split row "\n#" | skip 1 | each {|section|
        let name = $section | lines | first | str trim --left --char "#" | str trim
        let blocks = $section | parse --regex '(?s)(?:```nu|<!--) test\n(?<code>.*?)(?:```|-->)' | get code
        if ($blocks | is-empty) { [] } else {
            [{ file: ($file | path basename) name: $name line: $"(preparation)\n($blocks | str join "\n")" }]
        }
    } | flatten
}

# The services that the recipes use, one of them unhealthy.
def preparation []: nothing -> string {
    'define "
[services.database]
start_command = \"TEST_SERVICE say hello\"
[services.web-app]
start_command = \"TEST_SERVICE say listening\"
dependencies = [\"database\"]
health_check_endpoint = \"exec:test ! -e sick\"
health = { interval = \"50ms\", retries = 1 }
"
service start web-app | ignore
'
}
