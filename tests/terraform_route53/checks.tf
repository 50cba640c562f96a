resource "aws_route53_health_check" "http" {
  ip_address        = "198.18.0.200"
  port              = 80
  type              = "HTTP"
  resource_path     = var.changed ? "/live" : "/health"
  failure_threshold = var.changed ? 5 : 3
  request_interval  = 30
  regions           = ["us-east-1", "us-west-2", "eu-west-1"]
  tags              = { Name = "http" }
}

resource "aws_route53_health_check" "https" {
  fqdn              = "api.example.test"
  port              = 443
  type              = "HTTPS_STR_MATCH"
  resource_path     = "/"
  search_string     = var.changed ? "fine" : "ok"
  failure_threshold = 1
  request_interval  = 10
  measure_latency   = true
  enable_sni        = true
}

resource "aws_route53_health_check" "tcp" {
  fqdn               = "api.example.test"
  port               = 5432
  type               = "TCP"
  failure_threshold  = 3
  request_interval   = 30
  invert_healthcheck = var.changed
  disabled           = true
}

resource "aws_route53_health_check" "parent" {
  type                   = "CALCULATED"
  child_health_threshold = var.changed ? 2 : 1
  child_healthchecks     = [aws_route53_health_check.http.id, aws_route53_health_check.tcp.id]
}

resource "aws_cloudwatch_metric_alarm" "errors" {
  alarm_name          = "errors"
  namespace           = "Orders"
  metric_name         = "Errors"
  statistic           = "Sum"
  comparison_operator = "GreaterThanThreshold"
  threshold           = 1
  period              = 60
  evaluation_periods  = 1
}

resource "aws_route53_health_check" "alarm" {
  type                            = "CLOUDWATCH_METRIC"
  cloudwatch_alarm_name           = aws_cloudwatch_metric_alarm.errors.alarm_name
  cloudwatch_alarm_region         = "us-east-1"
  insufficient_data_health_status = var.changed ? "Unhealthy" : "Healthy"
}

resource "aws_route53_record" "checked" {
  for_each        = { PRIMARY = "192.0.2.11", SECONDARY = "192.0.2.12" }
  zone_id         = aws_route53_zone.public.zone_id
  name            = "checked"
  type            = "A"
  ttl             = local.ttl
  records         = [each.value]
  set_identifier  = each.key
  health_check_id = each.key == "PRIMARY" ? aws_route53_health_check.http.id : null

  failover_routing_policy {
    type = each.key
  }
}
