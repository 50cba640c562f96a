resource "aws_cloudwatch_metric_alarm" "busy" {
  alarm_name          = "busy"
  alarm_description   = var.changed ? "very busy" : "busy"
  namespace           = "AWS/ApplicationELB"
  metric_name         = "RequestCount"
  dimensions          = { LoadBalancer = "app/shop/0123456789abcdef" }
  statistic           = "Sum"
  period              = 60
  evaluation_periods  = var.changed ? 5 : 3
  datapoints_to_alarm = var.changed ? 3 : 2
  threshold           = 1000
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = var.changed ? "breaching" : "notBreaching"
  alarm_actions       = ["arn:aws:sns:us-east-1:000000000000:pager"]
  ok_actions          = ["arn:aws:sns:us-east-1:000000000000:pager"]
  actions_enabled     = !var.changed
  tags                = var.changed ? { stage = "two" } : { stage = "one", owner = "shop" }
}

resource "aws_cloudwatch_metric_alarm" "slow" {
  alarm_name                            = "slow"
  namespace                             = "AWS/ApplicationELB"
  metric_name                           = "TargetResponseTime"
  extended_statistic                    = var.changed ? "p99.9" : "p99"
  period                                = 300
  evaluation_periods                    = 1
  threshold                             = 0.5
  comparison_operator                   = "GreaterThanOrEqualToThreshold"
  evaluate_low_sample_count_percentiles = "ignore"
  unit                                  = "Seconds"
  insufficient_data_actions             = []
}

resource "aws_cloudwatch_metric_alarm" "errors" {
  alarm_name          = "errors"
  evaluation_periods  = 2
  threshold           = var.changed ? 10 : 5
  comparison_operator = "LessThanThreshold"

  metric_query {
    id          = "rate"
    expression  = "100 * errors / requests"
    label       = "error rate"
    return_data = true
  }

  metric_query {
    id = "requests"
    metric {
      namespace   = "AWS/ApplicationELB"
      metric_name = "RequestCount"
      period      = 120
      stat        = "Sum"
      unit        = "Count"
      dimensions  = { LoadBalancer = "app/shop/0123456789abcdef" }
    }
  }

  metric_query {
    id = "errors"
    metric {
      namespace   = "AWS/ApplicationELB"
      metric_name = "HTTPCode_ELB_5XX_Count"
      period      = 120
      stat        = "Sum"
      dimensions  = { LoadBalancer = "app/shop/0123456789abcdef" }
    }
  }
}

resource "aws_cloudwatch_composite_alarm" "bad" {
  alarm_name        = "bad"
  alarm_description = "busy and slow"
  alarm_rule = (var.changed
    ? "ALARM(${aws_cloudwatch_metric_alarm.busy.alarm_name}) OR ALARM(${aws_cloudwatch_metric_alarm.slow.alarm_name})"
    : "ALARM(${aws_cloudwatch_metric_alarm.busy.alarm_name}) AND NOT OK(${aws_cloudwatch_metric_alarm.slow.alarm_name})")
  alarm_actions = ["arn:aws:sns:us-east-1:000000000000:pager"]
  tags          = { stage = var.changed ? "two" : "one" }

  actions_suppressor {
    alarm            = aws_cloudwatch_metric_alarm.errors.alarm_name
    wait_period      = 20
    extension_period = var.changed ? 20 : 10
  }
}

resource "aws_cloudwatch_dashboard" "shop" {
  dashboard_name = "shop"
  dashboard_body = jsonencode({
    widgets = [{
      type       = "text"
      x          = 0
      y          = 0
      width      = 6
      height     = 3
      properties = { markdown = var.changed ? "two" : "one" }
    }]
  })
}

resource "aws_cloudwatch_log_group" "shop" {
  name = "/shop"
}

resource "aws_cloudwatch_log_metric_filter" "failures" {
  name           = "failures"
  log_group_name = aws_cloudwatch_log_group.shop.name
  pattern        = var.changed ? "{ $.level = \"ERROR\" && $.took > 10 }" : "ERROR"

  metric_transformation {
    name          = "Failures"
    namespace     = "shop"
    value         = var.changed ? "$.took" : "1"
    default_value = var.changed ? null : "0"
    unit          = "Count"
    dimensions    = var.changed ? { Path = "$.path" } : null
  }
}
