"""What people and programs operate Milepost with."""
