select metric_timestamp, metric_name, metric_value
from {{ table_key }}
where metric_batch = '{{ metric_batch }}' and metric_type = 'metric'
order by metric_timestamp
;
