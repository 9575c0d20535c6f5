SELECT
  `Order Date` AS metric_timestamp,
  'it\'s "odd"; -- %' AS metric_name,
  `Amount (EUR)` AS metric_value
FROM `Sales 2024`.`Orders`
WHERE
  `select` <> 'a\\b' AND REGEXP_LIKE(`Order No`, '^[A-Z]+-\\d{4}$')
LIMIT 1000
