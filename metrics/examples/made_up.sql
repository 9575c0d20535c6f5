{# How the examples that need no network make their data: values that depend on the bucket's time alone, so that any run
   of any window gives the same rows. Not needed once a query reads a table of yours. #}

{# The buckets that begin in the run's window. #}
{% macro buckets(unit) -%}
(
    SELECT bucket
    FROM generate_series(
        date_trunc('{{ unit }}', CAST('{{ data_interval_start }}' AS TIMESTAMP)),
        CAST('{{ data_interval_end }}' AS TIMESTAMP),
        INTERVAL 1 {{ unit }}
    ) AS series(bucket)
    WHERE bucket >= CAST('{{ data_interval_start }}' AS TIMESTAMP) AND bucket < CAST('{{ data_interval_end }}' AS TIMESTAMP)
)
{%- endmacro %}

{# About normally distributed around 0 with deviation 1, the same for the same name and moment. #}
{% macro noise(name, moment) -%}
(1.732 * (
    {%- for first in (1, 9, 17, 25) %}
    ('0x' || substr(md5({{ name }} || {{ moment }}), {{ first }}, 8))::UBIGINT / 4294967296.0 {{- " +" if not loop.last }}
    {%- endfor %} - 2))
{%- endmacro %}

{# True on one day in 97, about once in three months: the day on which something happens. #}
{% macro something_happens(moment, rest) -%}
(epoch({{ moment }})::BIGINT // 86400 % 97 = {{ rest }})
{%- endmacro %}
