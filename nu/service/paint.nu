# `service paint`: states in colour, in every table.

use colors.nu

# Return the part of `color_config` that shows states in colour: green, yellow, red, grey.
#
# The rows do not change, so `where health == unhealthy` keeps working. Every cell with a state is coloured, also in other
# tables; other strings keep their colour.
@category service
@search-terms color theme color_config
@example "in config.nu" "use service\n$env.config.color_config = ($env.config.color_config | merge (service paint))"
export def "service paint" []: nothing -> record<string: closure> {
    let usual = $env.config.color_config.string? | default white
    {
        string: {|text|
            let style = colors style $text
            if $style != null { $style } else if ($usual | describe) == closure { do $usual $text } else { $usual }
        }
    }
}
