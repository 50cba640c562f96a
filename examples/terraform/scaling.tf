resource "aws_appautoscaling_target" "stock" {
  service_namespace  = "ecs"
  scalable_dimension = "ecs:service:DesiredCount"
  resource_id        = "service/${aws_ecs_cluster.main.name}/${aws_ecs_service.stock.name}"
  min_capacity       = 1
  max_capacity       = var.stock_tasks_max
}

resource "aws_appautoscaling_policy" "processor" {
  name               = "processor"
  policy_type        = "TargetTrackingScaling"
  service_namespace  = aws_appautoscaling_target.stock.service_namespace
  scalable_dimension = aws_appautoscaling_target.stock.scalable_dimension
  resource_id        = aws_appautoscaling_target.stock.resource_id

  target_tracking_scaling_policy_configuration {
    target_value       = var.processor_target_percent
    scale_in_cooldown  = 60
    scale_out_cooldown = 30

    predefined_metric_specification {
      predefined_metric_type = "ECSServiceAverageCPUUtilization"
    }
  }
}

resource "aws_appautoscaling_scheduled_action" "morning" {
  name               = "morning"
  service_namespace  = aws_appautoscaling_target.stock.service_namespace
  scalable_dimension = aws_appautoscaling_target.stock.scalable_dimension
  resource_id        = aws_appautoscaling_target.stock.resource_id
  schedule           = "cron(0 6 * * ? *)"
  timezone           = "Europe/Berlin"

  scalable_target_action {
    min_capacity = 1
    max_capacity = var.stock_tasks_max
  }
}
