# The script of `cargo xtask demo`: a project from its first start to its last stop. Each command is printed above its real output.

# Prints the source of a command, and then its output.
def show [command: closure] {
    let source = view source $command | str trim --left --char '{' | str trim --right --char '}' | str trim
    print $"(ansi green_bold)> ($source)(ansi reset)"
    let width = if (is-terminal --stdout) { (term size).columns } else { 120 }
    print $"(do $command | table --width $width | str trim --right)\n"
}

show { service order web-app | update dependencies { str join " " } }
show { service start web-app }
show { service status }
show { service status | where memory > 1mb | sort-by memory --reverse | select name memory uptime }
show { service health | reject endpoint }
show { http get http://127.0.0.1:18103/ }
show { service logs web-app --tail 3 }
show { service stop --all }
show { service daemon stop }
