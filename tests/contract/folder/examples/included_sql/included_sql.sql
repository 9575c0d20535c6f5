-- a trailing comma and a semicolon, as they occur
select
    timestamp '2024-01-01' + interval (n) day as metric_timestamp,
    'orders' as metric_name,
    case when n = 60 then 1000 else 100 + n * n * 31 % 97 % 23 end as metric_value,
from range(70) as days(n)
;
